"""The bench of exact clips: what counts as exact, and ours on one source."""

from pathlib import Path

import pytest

from reelmill.bench.clip_judge import Verdict, judge, read_truth
from reelmill.bench.clip_matrix import CONTAINERS, NUM_FRAMES, Source, draw, full_matrix, quick_matrix
from reelmill.bench.exact_clips import PEERS, SCRIPTS, Score, measure, score
from tests.curate.videos import ffmpeg

SOURCE = Source("mpeg2", "ts", is_open=True, b_frames=3)


def verdict(*shown: int, identical: bool = False, psnr_db: float = 0.0, planned: bool = False) -> Verdict:
    return Verdict(shown, identical, psnr_db, planned)


def test_a_clip_is_exact_with_the_planned_frames_equal_or_nearly():
    made = [
        (verdict(0, 1, 2, identical=True, planned=True), 0, 3),
        (verdict(0, 1, 2, psnr_db=40.0, planned=True), 0, 3),
        (verdict(0, 1, 2, psnr_db=30.0, planned=True), 0, 3),
        (verdict(0, 1, 2, 3, 4), 0, 3),
        (verdict(1, 1), 0, 3),
        (None, 0, 3),
    ]
    assert score(made) == Score(6, num_exact=2, num_poor=1, num_absent=1, foreign_frames=2, lost_frames=2 + 3)
    assert score(made).share == pytest.approx(1 / 3)


def test_foreign_doubled_and_lost_frames_are_told_from_pixels(tmp_path: Path):
    truth = read_truth(draw(SOURCE, tmp_path), 0)
    assert len(truth.pts_N) == len(truth.yuv_NP) == NUM_FRAMES
    out = tmp_path / "clip.mkv"
    ffmpeg("-i", str(truth.path), "-vf", "trim=start_frame=10:end_frame=22", "-c:v", "ffv1", str(out))
    assert judge(out, truth, 10, 22).is_identical
    late = judge(out, truth, 11, 22)
    assert (late.is_exact, list(late.shown)) == (False, list(range(10, 22)))
    assert late.describe() == "12 frames: 10-21"


def test_ours_are_exact_and_the_promise_is_a_floor():
    found = measure(sources=[SOURCE])
    assert found.figures["exact_clips"] == 1.0
    assert found.missed == []
    assert found.details["reelmill_copy"].startswith("3 of 3 exact")


def test_every_peer_has_a_script():
    assert {f"cut_{peer}.py" for peer, _ in PEERS.values()} <= {path.name for path in SCRIPTS.iterdir()}


def test_the_quick_matrix_covers_every_value_and_the_full_one_every_container():
    quick, full = quick_matrix(), full_matrix()
    assert {one.codec for one in quick} == set(CONTAINERS)
    for field in ("is_vfr", "is_open", "has_audio"):
        assert {getattr(one, field) for one in quick} == {False, True}
    assert {one.rotation_deg for one in quick} == {0, 90, 180, 270}
    assert {(one.codec, one.container) for one in full} == {
        (codec, container) for codec, containers in CONTAINERS.items() for container in containers
    }
    assert len({one.name for one in full}) == len(full)
