"""Whole runs that encode: several datasets of one decode, cropped, slower, with sound; and their reruns."""

from pathlib import Path

import numpy as np
import pytest

from curate.clips.cut import CutConfig
from curate.config import CurateConfig
from curate.pipeline import Pipeline
from curate.run import Curated
from reelmill.bench.clip_matrix import CLICKS
from shards.config import parse_config
from shards.errors import ConfigError
from shards.plans.view import ViewConfig
from shards.reading.reader import open_dataset
from shards.schema import strings
from shards.versions.compact import compact
from shards.versions.verify import verify
from shards.versions.withdraw import withdraw
from tests.curate.tiny_runs import NUM_FRAMES, Calls, curated
from tests.curate.videos import ffmpeg, moving_square, write_video

CUT = {
    "mode": "encode",
    "audio": "keep",
    "encode": {"preset": "ultrafast", "short_side_px": 32, "crop": "inner_box", "fps": 10, "gop_frames": 8},
    "also": {"large": {"encoder": "libx265", "preset": "ultrafast"}},
}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Curated:
    """Two letterboxed videos of two seconds with sound."""
    root = tmp_path_factory.mktemp("targets")
    (root / "in").mkdir()
    for step_px in (3, 5):
        wide = np.pad(moving_square(NUM_FRAMES, height=72, step_px=step_px), ((0, 0), (12, 12), (0, 0), (0, 0)))
        mute = write_video(root / f"{step_px}.mp4", wide)
        ffmpeg(
            "-i", str(mute), "-f", "lavfi", "-i", CLICKS, "-c:v", "copy", "-shortest", str(root / f"in/{step_px}.mp4")
        )
    return run_of(root)


def run_of(root: Path, keep: dict[str, str] | None = None) -> Curated:
    return curated(root / "in", root / "run", keep=keep or {}, cut=CUT)


def test_each_target_is_a_dataset_of_the_same_clips(first: Curated):
    small, large = (open_dataset(first.run_dir.dataset_of(name)).rows for name in (None, "large"))
    assert strings(small, "key") == strings(large, "key")
    assert set(strings(small, "codec") + strings(large, "codec")) == {"h264", "hevc"}
    assert small["num_frames"].to_pylist() == [20, 20]  # two seconds at 10 a second
    assert large["num_frames"].to_pylist() == [NUM_FRAMES] * 2
    assert (set(strings(small, "bucket")), set(strings(large, "bucket"))) == ({"16x32x70"}, {"32x96x160"})
    for name in (None, "large"):
        assert verify(first.run_dir.dataset_of(name), frames=True) == []


def test_samples_without_their_borders_say_that_they_have_none(first: Curated):
    small, large = (open_dataset(first.run_dir.dataset_of(name)).rows for name in (None, "large"))
    assert small["border_top"].to_pylist() == [0.0, 0.0]
    assert large["border_top"].to_pylist() == pytest.approx([0.125] * 2, abs=0.02)


def test_what_was_encoded_is_counted_for_each_target(first: Curated):
    import json

    frames = json.loads((first.run_dir.root / "metrics.json").read_text())["frames"]
    assert (frames["encoded_for dataset"], frames["encoded_for dataset-large"]) == (40, 100)
    assert frames["encoded"] == 140
    assert "encoded for dataset-large" in (first.run_dir.root / "report.html").read_text()


def test_the_reader_shows_clips_with_sound_as_any(first: Curated):
    from shards.reading.decode import decode_clip

    dataset = open_dataset(first.run_dir.dataset)
    view = ViewConfig(num_frames=8, fps=5, height=32, width=64, crop="inner_box")
    shown_THWC = decode_clip(dataset.read_member(0, "mp4"), dataset.row(0), view)
    assert shown_THWC.shape == (8, 32, 64, 3)
    assert shown_THWC[:, 1].mean() > 30  # no black line is left at the top


def test_a_rerun_with_a_tighter_rule_cuts_nothing_and_publishes_every_dataset(first: Curated, monkeypatch):
    calls = Calls(monkeypatch)
    key = strings(open_dataset(first.run_dir.dataset).rows, "key")[0]
    again = run_of(first.run_dir.root.parent, {"one": f"clip_id != '{key}'"})
    assert (calls.scanned, calls.cut) == ([], [])
    for name in (None, "large"):
        rows = open_dataset(again.run_dir.dataset_of(name)).rows
        assert len(rows) == 1
        assert key not in strings(rows, "key")


def test_the_plan_says_what_becomes_of_clips():
    text = Pipeline.of(parse_config(CurateConfig, {"cut": CUT})).describe()
    assert "dataset: libx264 crf 18 yuv420p, key frame every 8, short side 32 px, without black borders" in text
    assert "dataset-large: libx265" in text
    assert "sound kept as AAC" in text
    assert "copied (h264, hevc, vp9, av1; hidden before it at most 1 x" in Pipeline.of(CurateConfig()).describe()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"encode": {"fps": 8}}, "a copy keeps pictures as they are"),
        ({"encode": {"crop": "inner_box"}}, "a copy keeps pictures as they are"),
        ({"also": {"b": {}}}, "a copy decodes nothing to make them of; set mode to encode"),
        ({"mode": "encode", "also": {"B/": {}}}, "also"),
    ],
)
def test_targets_that_make_no_sense_are_refused(changes, words):
    with pytest.raises(ConfigError, match=words):
        parse_config(CutConfig, changes)


@pytest.mark.parametrize("mode", ["copy", "encode"])
def test_a_digest_of_proven_frames_is_published_and_proven_again(mode, first: Curated, tmp_path: Path):
    inputs = first.run_dir.root.parent / "in"
    again = curated(inputs, tmp_path / "run", cut={"mode": mode, "verify": "frames"}, keep={})
    rows = open_dataset(again.run_dir.dataset).rows
    assert set(strings(rows, "cut_mode")) == {mode}
    assert None not in rows["decoded_digest"].to_pylist()
    dataset = again.run_dir.dataset
    assert verify(dataset, frames=True) == []
    withdraw(dataset, keys=strings(rows, "key")[:1], reason="asked to")
    compact(dataset, tmp_path)
    assert verify(dataset, frames=True) == []
