from typing import Any

import numpy as np
import pytest
from scenedetect.common import FrameTimecode
from scenedetect.detectors import ContentDetector

from curate.scenes.features import FeatureMeter, of_all_frames
from tests.curate.scans import flat, i420, panned, scan_of, span_of, texture

FRAMES = panned(texture(1), 10) + panned(texture(2), 10)


def metered(frames):
    meter = FeatureMeter()
    for small_HW in i420(frames):
        meter.see(small_HW)
    return meter.features()


def test_change_is_the_content_score_of_pyscenedetect_itself():
    detector = ContentDetector()
    span = span_of(np.zeros((1, 4, 4), np.uint8))
    pictures = type(span)(np.arange(len(FRAMES)), len(FRAMES), span.time_base, i420(FRAMES)).bgr_THWC()
    peer = [
        detector._calculate_frame_score(FrameTimecode(index, 25.0), bgr_HWC) for index, bgr_HWC in enumerate(pictures)
    ]
    assert metered(FRAMES).change_T.tolist() == peer


def test_after_a_restart_the_next_frame_has_no_change():
    meter = FeatureMeter()
    for index, small_HW in enumerate(i420(FRAMES[8:12])):
        if index == 2:
            meter.restart()
        meter.see(small_HW)
    assert (meter.features().change_T > 0).tolist() == [False, True, False, True]


def test_features_survive_the_way_through_a_file(tmp_path):
    features = metered(FRAMES)
    arrays: dict[str, Any] = {**features.as_arrays()}
    np.savez(tmp_path / "a.npz", **arrays)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        again = type(features).read(dict(arrays))
    assert all(np.array_equal(again.as_arrays()[name], value) for name, value in features.as_arrays().items())


def test_frames_not_seen_lie_on_the_way_between_those_around_them():
    seen = metered(flat(0, 1) + flat(90, 1) + flat(150, 1))
    features = of_all_frames(seen, np.array([1, 4, 5]), 7)
    assert features.level_T.tolist() == pytest.approx([0, 0, 30, 60, 90, 150, 150], abs=1)
    step = seen.change_T[1] / 3
    assert features.change_T.tolist() == pytest.approx([0, 0, step, step, step, seen.change_T[2], 0])
    assert features.thumb_THW[:, 0, 0].tolist() == pytest.approx([16, 16, 42, 67, 93, 145, 145], abs=2)


def test_if_all_are_seen_nothing_is_guessed(tmp_path):
    scan = scan_of(tmp_path, FRAMES)
    assert of_all_frames(scan.features, scan.seen_S, 20) is scan.features
