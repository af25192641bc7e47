from dataclasses import replace

import numpy as np
import pytest

from reelmill.toyworld.render import UNIT, draw_shot, outline, render_shot, shape_mask
from reelmill.toyworld.world import COLOURS, DIRECTIONS, KINDS, Combination, combinations

TIMES_T = np.arange(16) / 8


def centres_px(frames_THWC: np.ndarray, ground_THWC: np.ndarray) -> np.ndarray:
    """Centre of what differs from the same shot without its shape, shape (T, 2)."""
    y_HW, x_HW = np.mgrid[: frames_THWC.shape[1], : frames_THWC.shape[2]]
    centres = []
    for frame_HWC, ground_HWC in zip(frames_THWC.astype(int), ground_THWC.astype(int), strict=True):
        weight_HW = np.abs(frame_HWC - ground_HWC).sum(axis=2) > 60
        centres.append([x_HW[weight_HW].mean() + 0.5, y_HW[weight_HW].mean() + 0.5])
    return np.array(centres)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_shape_moves_at_its_speed_in_its_direction(direction: str):
    shot = draw_shot(np.random.default_rng(1), Combination("blue", "circle", direction), 2.4)
    ground_THWC = render_shot(replace(shot, radius=1e-6), TIMES_T, 96)
    centres_T2 = centres_px(render_shot(shot, TIMES_T, 96), ground_THWC)
    expected_T2 = np.array([shot.centre(time_s) for time_s in TIMES_T]) * 96
    np.testing.assert_allclose(centres_T2, expected_T2, atol=0.5)
    step = centres_T2[-1] - centres_T2[0]
    assert step @ DIRECTIONS[direction] == pytest.approx(shot.speed * 96 * TIMES_T[-1], abs=0.8)


def test_two_seconds_travel_7_to_10_of_the_trainers_pixels_and_the_shape_never_leaves():
    rng = np.random.default_rng(2)
    for combination in combinations() * 4:
        duration_s = rng.uniform(2, 3)
        shot = draw_shot(rng, combination, duration_s)
        assert 7.2 <= shot.speed / UNIT * 2 <= 10
        assert 6.2 <= shot.radius / UNIT <= 7.6
        for time_s in (0, duration_s):
            corners_N2 = outline(combination.kind) * shot.radius + shot.centre(time_s)
            assert corners_N2.min() >= 0
            assert corners_N2.max() <= 1


def test_a_shot_is_a_function_of_its_fields_and_time():
    shot = draw_shot(np.random.default_rng(3), Combination("green", "star", "up"), 2.4)
    frames_THWC = render_shot(shot, TIMES_T, 96)
    np.testing.assert_array_equal(frames_THWC, render_shot(shot, TIMES_T, 96))
    later_THWC = render_shot(shot, TIMES_T[4:], 96).astype(int)
    assert np.abs(later_THWC - frames_THWC[4:]).mean() < 6  # the same but for the sensor's noise of 4 levels
    assert frames_THWC.shape == (16, 96, 96, 3)
    assert frames_THWC.dtype == np.uint8


@pytest.mark.parametrize("kind", KINDS)
def test_masks_have_the_outlines_area_and_soft_edges(kind: str):
    x_N, y_N = outline(kind).T
    area = abs(np.sum(x_N * np.roll(y_N, -1) - y_N * np.roll(x_N, -1))) / 2
    mask_HW = shape_mask(kind, (0.5, 0.5), 0.2, 96)
    assert mask_HW.sum() / 255 == pytest.approx(area * (0.2 * 96) ** 2, rel=0.06)
    assert ((mask_HW > 20) & (mask_HW < 235)).sum() > 10


def test_the_background_drifts_and_is_greyish_while_the_shape_is_vivid():
    shot = draw_shot(np.random.default_rng(4), Combination("magenta", "square", "down"), 2.4, base_luma=120)
    frame_HWC = render_shot(shot, np.array([0.0]), 96)[0].astype(int)
    mask_HW = shape_mask("square", shot.start_xy, shot.radius, 96)
    chroma_HW = frame_HWC.max(axis=2) - frame_HWC.min(axis=2)
    assert np.median(chroma_HW[mask_HW == 255]) > 120
    assert np.median(chroma_HW[mask_HW == 0]) < 30
    assert frame_HWC[mask_HW == 0].mean() == pytest.approx(120, abs=20)
    np.testing.assert_allclose(frame_HWC[mask_HW == 255].mean(axis=0), COLOURS["magenta"], atol=25)
    assert 0.3 <= np.hypot(*shot.drift_xy) / UNIT <= 1.0


def test_a_shot_too_long_for_its_shape_is_refused():
    with pytest.raises(ValueError, match=r"3\.5 is allowed"):
        draw_shot(np.random.default_rng(0), combinations()[0], 4.0)
