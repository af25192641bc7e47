import io
from collections.abc import Callable
from functools import cache

import av
import cv2
import numpy as np
import pytest

from reelmill.toyworld import oracle
from reelmill.toyworld.oracle import CHANCE, Reading
from reelmill.toyworld.render import draw_shot, render_shot
from reelmill.toyworld.world import Combination, combinations

Wear = Callable[[np.ndarray], np.ndarray]


@cache
def clips(size_px: int = 32) -> list[tuple[np.ndarray, Combination]]:
    """Two seconds of every combination at 8 frames/s, drawn at 96x96 and shrunk as the trainer's reader does."""
    rng = np.random.default_rng(11)
    found = []
    for combination in combinations():
        frames_THWC = render_shot(draw_shot(rng, combination, 2.4), np.arange(16) / 8, 96)
        shrunk = [cv2.resize(frame, (size_px, size_px), interpolation=cv2.INTER_AREA) for frame in frames_THWC]
        found.append((np.stack(shrunk), combination))
    return found


def rates(wear: Wear, size_px: int = 32) -> dict[str, float]:
    scores = [oracle.score(wear(frames), combination) for frames, combination in clips(size_px)]
    return {name: float(np.mean([score[name] for score in scores])) for name in CHANCE}


def x264(crf: int) -> Wear:
    def wear(frames_THWC: np.ndarray) -> np.ndarray:
        file = io.BytesIO()
        with av.open(file, "w", format="mp4") as container:
            stream = container.add_stream("libx264", rate=8, options={"crf": str(crf), "preset": "veryfast"})
            stream.width = stream.height = frames_THWC.shape[1]
            stream.pix_fmt = "yuv420p"
            for frame_HWC in frames_THWC:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame_HWC, format="rgb24")))
            container.mux(stream.encode())
        file.seek(0)
        with av.open(file, "r") as container:
            return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])

    return wear


def blurred(frames_THWC: np.ndarray) -> np.ndarray:
    return np.stack([cv2.GaussianBlur(frame, (0, 0), 1.0) for frame in frames_THWC])


def noisy(frames_THWC: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 15, frames_THWC.shape)
    return np.clip(frames_THWC + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("size_px", [32, 48])
def test_clean_clips_are_read_without_a_mistake(size_px: int):
    assert rates(lambda frames: frames, size_px) == {"colour": 1.0, "kind": 1.0, "direction": 1.0}


@pytest.mark.parametrize(
    ("wear", "least_kind"),
    [(x264(28), 0.98), (x264(35), 0.9), (blurred, 0.98), (noisy, 0.98)],
    ids=["x264 at crf 28", "x264 at crf 35", "blur of 1 px", "noise of 15 levels"],
)
def test_worn_clips_are_still_read(wear: Wear, least_kind: float):
    found = rates(wear)
    assert found["colour"] >= 0.98
    assert found["direction"] >= 0.98
    assert found["kind"] >= least_kind


@pytest.mark.parametrize(
    "frames_THWC",
    [
        np.zeros((16, 32, 32, 3), np.uint8),
        np.full((16, 32, 32, 3), 128, np.uint8),
        np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), dtype=np.uint8),
        np.random.default_rng(0).normal(128, 25, (16, 32, 32, 3)).clip(0, 255).astype(np.uint8),
        np.full((16, 32, 32, 3), (220, 20, 20), np.uint8),
    ],
    ids=["black", "grey", "wild noise", "soft noise", "all red"],
)
def test_nothing_is_read_where_nothing_is(frames_THWC: np.ndarray):
    assert oracle.read(frames_THWC) == Reading(None, None, None)


def test_a_still_has_colour_and_kind_but_no_direction():
    frames_THWC, combination = clips()[0]
    reading = oracle.read(np.repeat(frames_THWC[:1], 16, axis=0))
    assert reading == Reading(combination.colour, combination.kind, None)


def test_reading_backwards_turns_the_direction_around():
    turned = {"left": "right", "right": "left", "up": "down", "down": "up"}
    for frames_THWC, combination in clips()[:8]:
        assert oracle.read(frames_THWC[::-1]).direction == turned[combination.direction]


def test_a_wrong_prompt_scores_wrong_where_it_differs():
    frames_THWC, combination = clips()[0]
    other = Combination("green", combination.kind, "down")
    assert combination == Combination("red", "circle", "left")
    assert oracle.score(frames_THWC, other) == {"colour": False, "kind": True, "direction": False}


def test_chance_is_one_over_the_number_of_words():
    assert CHANCE == {"colour": 1 / 6, "kind": 1 / 4, "direction": 1 / 4}
