"""Levers on and off: the same boundaries, the same pictures where they are seen, and scores that differ little."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import curate.settle
from curate.config import CurateConfig
from curate.inputs.ingest import IngestConfig, expand_inputs, probe_videos
from curate.media.child import MediaChild
from curate.pipeline import span_stages
from curate.scan import ScanConfig, ScanResult, fill_scan, scan_video
from curate.scenes.segments import ScenesConfig, find_segments
from curate.scenes.unsettled import unsettled_spans
from curate.settle import settled
from curate.stage import run_span_stages
from tests.curate.scans import flat, mixed, panned, texture
from tests.curate.videos import write_video

SCENES = ScenesConfig(min_clip_s=0.4, max_clip_s=3600)
A, B, C = (panned(texture(seed), 60, step_px=0.25) for seed in (1, 2, 3))
B_FRAMES = {"bf": "3", "b_strategy": "0", "g": "48"}
NO_KEY_AT_CUTS = {**B_FRAMES, "sc_threshold": "0"}
HEVC = {"x265-params": "log-level=none:bframes=3:b-adapt=0:keyint=40:scenecut=0"}


def faded(frames: list[np.ndarray]) -> list[np.ndarray]:
    """Down to black over these frames."""
    return mixed(frames, flat(0, len(frames)))


VIDEOS = {
    "cuts at key frames.mp4": (A + B + C, "libx264", B_FRAMES),
    "cuts inside groups.mp4": (A[:37] + B[:50] + C[:31] + A[:40], "libx264", NO_KEY_AT_CUTS),
    "open groups.mkv": (A[:37] + B + C[:31], "libx264", {**NO_KEY_AT_CUTS, "g": "12", "x264-params": "open-gop=1"}),
    "no pyramid.mp4": (A[:38] + B[:41] + C, "libx264", {**NO_KEY_AT_CUTS, "x264-params": "b-pyramid=none"}),
    "a shot of three frames.mp4": (A[:41] + C[:3] + B, "libx264", NO_KEY_AT_CUTS),
    "a flash.mp4": (A[:30] + flat(250, 1) + A[30:] + B, "libx264", NO_KEY_AT_CUTS),
    "a dissolve.mp4": (A[:36] + mixed(A[36:], C[:24]) + C[24:], "libx264", NO_KEY_AT_CUTS),
    "fades.mp4": (A[:40] + faded(A[40:]) + flat(0, 8) + faded(B[:20])[::-1] + B[20:], "libx264", NO_KEY_AT_CUTS),
    "hevc.mp4": (A[:37] + B[:50] + C[:31], "libx265", HEVC),
    "mpeg2.mpg": (A[:37] + B[:50] + C[:31], "mpeg2video", {"bf": "2", "g": "15", "b": "2M"}),
    "mpeg4.mkv": (A[:37] + B[:50] + C[:31], "mpeg4", {"bf": "2", "g": "24", "b": "1M"}),
}


@pytest.fixture
def scanned(media_child: MediaChild, tmp_path: Path):
    """Scans and settles a file with a setting of the levers; the files live as long as the test."""
    results = []

    def run(path: Path, **levers: Any) -> tuple[ScanResult, dict]:
        (row,) = probe_videos(expand_inputs([str(path)], IngestConfig()), media_child).to_pylist()
        config = ScanConfig(**levers)
        result = scan_video(media_child, row, tmp_path, config)
        results.append(settled(media_child, row, result, tmp_path, config, SCENES))
        return results[-1], row

    yield run
    for result in results:
        result.close()


@pytest.mark.parametrize("name", VIDEOS)
def test_a_coarse_pass_ends_with_the_boundaries_and_the_pictures_of_a_full_one(scanned, tmp_path, name):
    frames, codec, options = VIDEOS[name]
    path = write_video(tmp_path / name, np.stack(frames), codec=codec, options=options)
    (full, row), (coarse, _) = scanned(path, coarse=False), scanned(path, coarse=True)
    assert full.skipped_frames == 0 < coarse.skipped_frames
    assert coarse.scan.pts_T.tolist() == full.scan.pts_T.tolist()
    told = [
        [
            {key: clip[key] for key in ("start_pts", "end_pts", "segment", "start_kind", "num_frames")}
            for clip in find_segments(result.scan, row, SCENES).to_pylist()
        ]
        for result in (full, coarse)
    ]
    assert told[0] == told[1]
    assert len(told[0]) > 1
    start, end = row["start_pts"], row["end_pts"]
    seen_THW = full.scan.of(start, end).i420_THW[coarse.scan.seen_S]
    assert np.array_equal(coarse.scan.of(start, end).i420_THW, seen_THW)
    assert np.array_equal(coarse.scan.features.level_T, full.scan.features.level_T[coarse.scan.seen_S])


# Half of the frames of a pan by quarter pixels fall on other phases of the grid, which blurs them more or less.
SCORES = {"luma_change": 0.1, "flow_mag": 0.1, "luma_mean": 0.01, "luma_std": 0.02, "sharpness": 0.3, "border_share": 0}


@pytest.mark.parametrize("levers", [{"coarse": True}, {"coarse": True, "skip_loop_filter": "none"}])
def test_scores_of_a_coarse_pass_are_those_of_a_full_one_but_for_little(scanned, tmp_path, levers):
    frames, codec, options = VIDEOS["cuts inside groups.mp4"]
    path = write_video(tmp_path / "a.mp4", np.stack(frames), codec=codec, options={**options, "crf": "12"})
    (full, row), (coarse, _) = scanned(path, coarse=False, skip_loop_filter="none"), scanned(path, **levers)
    stages = span_stages(CurateConfig())
    rows = [
        run_span_stages(stages, find_segments(result.scan, row, SCENES), result.scan).to_pylist()
        for result in (full, coarse)
    ]
    assert len(rows[0]) == 4
    for before, after in zip(*rows, strict=True):
        for name, tolerance in SCORES.items():
            assert after[name] == pytest.approx(before[name], rel=tolerance), name


def test_a_still_video_with_b_frames_is_decoded_by_half(scanned, tmp_path):
    path = write_video(tmp_path / "a.mp4", np.stack(A[:1] * 96), options=NO_KEY_AT_CUTS)
    result, _ = scanned(path, coarse=True)
    assert result.decoded_frames == pytest.approx(48, abs=4)
    assert result.decoded_frames + result.skipped_frames == 96


def test_a_restless_video_is_decoded_once_and_not_twice(scanned, tmp_path):
    cuts = [texture(seed) for seed in range(40) for _ in range(6)]
    path = write_video(tmp_path / "a.mp4", np.stack(cuts), options={**NO_KEY_AT_CUTS, "g": "24"})
    result, _ = scanned(path, coarse=True)
    assert result.decoded_frames < 1.2 * len(cuts)


def test_a_decoder_without_the_switch_sees_every_frame_and_says_so(scanned, tmp_path):
    options = {"deadline": "realtime", "cpu-used": "8"}
    path = write_video(tmp_path / "a.webm", np.stack(A + B), codec="libvpx-vp9", options=options)
    result, _ = scanned(path, coarse=True)
    assert (result.skipped_frames, result.counts["unskippable_frames"]) == (0, 120)


def test_a_fill_that_lacks_frames_leads_to_a_full_pass(scanned, tmp_path, monkeypatch):
    frames, codec, options = VIDEOS["cuts inside groups.mp4"]
    path = write_video(tmp_path / "a.mp4", np.stack(frames), codec=codec, options=options)
    monkeypatch.setattr(curate.settle, "fill_scan", lambda *_: None)
    result, _ = scanned(path, coarse=True)
    assert result.skipped_frames == 0
    assert result.decoded_frames > len(frames)


def test_frames_asked_for_twice_are_written_once(media_child, tmp_path):
    path = write_video(tmp_path / "a.mp4", np.stack(A), options=NO_KEY_AT_CUTS)
    (row,) = probe_videos(expand_inputs([str(path)], IngestConfig()), media_child).to_pylist()
    with scan_video(media_child, row, tmp_path, ScanConfig()) as result:
        pts_T = result.scan.pts_T.tolist()
        once = fill_scan(media_child, row, result, [(pts_T[8], pts_T[20])], ScanConfig())
        assert once is not None
        twice = fill_scan(media_child, row, once, [(pts_T[4], pts_T[24]), (pts_T[40], pts_T[44])], ScanConfig())
        assert twice is not None
        scan = twice.scan
        assert {*range(4, 25), *range(40, 45)} <= set(scan.seen_S.tolist())
        frame_bytes = scan.height * 3 // 2 * scan.width
        assert scan.small_path.stat().st_size == len(scan.seen_S) * frame_bytes
        assert sorted(scan.place_S.tolist()) == list(range(len(scan.seen_S)))


def test_what_is_settled_asks_for_nothing_more(scanned, tmp_path):
    frames, codec, options = VIDEOS["a dissolve.mp4"]
    path = write_video(tmp_path / "a.mp4", np.stack(frames), codec=codec, options=options)
    result, _ = scanned(path, coarse=True)
    assert unsettled_spans(result.scan, SCENES) == []
