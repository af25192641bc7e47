import numpy as np
import pytest
from scenedetect.common import FrameTimecode
from scenedetect.detectors import AdaptiveDetector

from curate.scenes.cuts import BlankConfig, CutsConfig, find_curves, find_flashes
from tests.curate.scans import flat, i420, panned, scan_of, span_of, texture

A, B, C = (panned(texture(seed), 40) for seed in (1, 2, 3))


def curves_of(folder, frames, cuts: CutsConfig | None = None, blanks: BlankConfig | None = None):
    return find_curves(scan_of(folder, frames), cuts or CutsConfig(), blanks or BlankConfig())


def test_cuts_are_those_of_pyscenedetect_itself(tmp_path):
    frames = A + B + C + A[:20] + B[:9]
    detector = AdaptiveDetector(min_scene_len=0)
    span = span_of(np.zeros((1, 4, 4), np.uint8))
    peer = []
    for index, bgr_HWC in enumerate(
        type(span)(np.arange(len(frames)), len(frames), span.time_base, i420(frames)).bgr_THWC()
    ):
        peer += [cut.frame_num for cut in detector.process_frame(FrameTimecode(index, 25.0), bgr_HWC)]
    assert sorted(curves_of(tmp_path, frames).cuts) == peer == [40, 80, 120, 140]


def test_confidence_grows_from_a_half_with_the_adaptive_ratio(tmp_path):
    sure = curves_of(tmp_path, A[:1] * 20 + B[:1] * 20).cuts[20]
    less_sure = curves_of(tmp_path, A + B).cuts[40]
    assert 0.5 < less_sure < sure == pytest.approx(255 / 258)  # a cut between stills has PySceneDetect's highest ratio


def test_chunks_of_the_scan_do_not_matter(tmp_path):
    frames = (A + B + C) * 3  # 360 frames; a chunk has 256
    assert sorted(curves_of(tmp_path, frames).cuts) == list(range(40, 360, 40))


@pytest.mark.parametrize("level", [0, 255])
def test_blank_stretches_are_found_to_the_frame_wherever_they_lie(tmp_path, level):
    blank = flat(level, 7)
    assert curves_of(tmp_path, blank + A + blank + B + blank).blanks == [(0, 7), (47, 54), (94, 101)]
    assert curves_of(tmp_path, blank).blanks == [(0, 7)]
    assert curves_of(tmp_path, A).blanks == []


def test_a_dark_picture_is_not_blank(tmp_path):
    night = [np.where(frame > 150, frame // 4, 0).astype(np.uint8) for frame in A]
    assert curves_of(tmp_path, night).blanks == []


def test_curves_have_a_value_for_each_frame(tmp_path):
    curves = curves_of(tmp_path, flat(0, 2) + flat(255, 3))
    assert curves.level_T.tolist() == pytest.approx([0, 0, 255, 255, 255], abs=1)
    assert curves.thumb_THW.shape == (5, 12, 16)
    assert curves.thumb_THW[:, 0, 0].tolist() == [16, 16, 235, 235, 235]


def test_a_video_without_frames_has_empty_curves(tmp_path):
    curves = curves_of(tmp_path, [])
    assert (curves.cuts, curves.blanks, len(curves.level_T), curves.thumb_THW.shape) == ({}, [], 0, (0, 12, 16))


def test_a_flash_is_two_cuts_with_the_same_shot_around(tmp_path):
    config = CutsConfig()
    frames = A[:20] + flat(250, 2) + A[20:] + B[:3] + C
    assert find_flashes([20, 22, 42, 45], scan_of(tmp_path, frames), config) == [(20, 22)]
    assert sorted(curves_of(tmp_path, frames).cuts) == [42, 45]


def test_without_flashes_allowed_every_cut_stays(tmp_path):
    frames = A[:20] + flat(250, 2) + A[20:]
    assert sorted(curves_of(tmp_path, frames, CutsConfig(flash_max_frames=0)).cuts) == [20, 22]
