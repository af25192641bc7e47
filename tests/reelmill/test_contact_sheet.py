"""Contact sheets hold the frames pixel by pixel, in order, beside their prompts."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reelmill.contact_sheet import FRAME_PX, RIGHT, WRONG, _grown, _spread, _wrapped, contact_sheet


class Wide:
    """A font in which every character is ten pixels wide."""

    def getlength(self, text: str) -> float:
        return 10 * len(text)


def samples(count: int, num_frames: int = 16, side: int = 20) -> np.ndarray:
    """Each frame has one colour of its own: (40 + sample, 80 + frame, 200)."""
    videos_BTHWC = np.zeros((count, num_frames, side, side, 3), np.uint8)
    videos_BTHWC[..., 0] = 40 + np.arange(count)[:, None, None, None]
    videos_BTHWC[..., 1] = 80 + np.arange(num_frames)[:, None, None]
    videos_BTHWC[..., 2] = 200
    return videos_BTHWC


def colours(path: Path) -> set[tuple[int, ...]]:
    counted = Image.open(path).convert("RGB").getcolors(maxcolors=1 << 24) or []
    return {colour for _, colour in counted if isinstance(colour, tuple)}


def test_every_sample_shows_eight_frames_from_first_to_last(tmp_path: Path):
    path = contact_sheet(samples(3), ["a", "b", "c"], None, tmp_path / "sheet.png")
    frames = np.linspace(0, 15, 8).round().astype(int)
    assert {(40 + sample, 80 + frame, 200) for sample in range(3) for frame in frames} <= colours(path)


def test_frames_stand_in_time_order_from_left_to_right(tmp_path: Path):
    path = contact_sheet(samples(1, num_frames=8), ["a"], None, tmp_path / "sheet.png")
    sheet_HWC = np.asarray(Image.open(path).convert("RGB"))
    line = sheet_HWC[sheet_HWC.shape[0] // 2]
    greens = [int(green) for red, green, blue in line if (red, blue) == (40, 200)]
    assert greens == sorted(greens)
    assert set(greens) == set(range(80, 88))


def test_small_frames_grow_by_a_whole_factor_and_large_ones_shrink():
    assert _grown(np.zeros((2, 32, 32, 3), np.uint8)).shape == (2, 64, 64, 3)
    assert _grown(np.zeros((2, 20, 40, 3), np.uint8)).shape == (2, 80, 160, 3)
    assert _grown(np.zeros((2, 270, 480, 3), np.uint8)).shape == (2, FRAME_PX, 142, 3)


def test_a_short_video_shows_all_its_frames_once():
    assert len(_spread(np.zeros((3, 4, 4, 3), np.uint8))) == 3


def test_right_and_wrong_readings_are_marked(tmp_path: Path):
    verdicts = [{"colour": True, "kind": True}, {"colour": True, "kind": True}]
    path = contact_sheet(samples(2), ["a", "b"], verdicts, tmp_path / "right.png", ["seen", "held out"])
    assert RIGHT in colours(path)
    assert WRONG not in colours(path)
    verdicts[1] = {"colour": False, "kind": True}
    path = contact_sheet(samples(2), ["a", "b"], verdicts, tmp_path / "wrong.png")
    assert WRONG in colours(path)


def test_same_samples_give_the_same_bytes(tmp_path: Path):
    paths = [contact_sheet(samples(10), ["a red circle"] * 10, None, tmp_path / name) for name in ("a.png", "b.png")]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_unequal_numbers_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="prompts are 1; 2 are expected"):
        contact_sheet(samples(2), ["a"], None, tmp_path / "sheet.png")
    with pytest.raises(ValueError, match="samples are 0"):
        contact_sheet(samples(0), [], None, tmp_path / "sheet.png")


def test_prompts_are_broken_between_words():
    assert list(_wrapped("a red circle moves", Wide(), 80)) == ["a red", "circle", "moves"]  # type: ignore[arg-type]
    assert list(_wrapped("", Wide(), 80)) == []  # type: ignore[arg-type]
