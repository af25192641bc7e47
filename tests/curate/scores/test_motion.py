import numpy as np
import pytest

from curate.scores.motion import Motion, MotionConfig, flow, flow_pairs, luma_change, static_share
from curate.stage import Clip
from shards.errors import ClipTooShort
from tests.curate.scans import HEIGHT, TIME_BASE, WIDTH, span_of, texture

DIAGONAL_PX = (WIDTH**2 + HEIGHT**2) ** 0.5
TIME_26 = np.arange(26) / 25  # one second and one frame


def still(level: int = 90, num_frames: int = 26) -> np.ndarray:
    return np.full((num_frames, HEIGHT, WIDTH), level, np.uint8)


def panned(step_px: int, num_frames: int = 26) -> np.ndarray:
    grey_HW = texture(3)[..., 0]
    return np.stack([np.roll(grey_HW, step_px * index, axis=1) for index in range(num_frames)])


def with_square(step_px: int, num_frames: int = 26) -> np.ndarray:
    """A textured square of 24 px before a still, textured background."""
    frames = np.repeat(texture(5)[..., 1][None], num_frames, axis=0).copy()
    for index in range(num_frames):
        frames[index, 20:44, 10 + index * step_px : 34 + index * step_px] = texture(6)[20:44, 10:34, 0]
    return frames


def clip_of(span) -> Clip:
    return Clip("c", "v", int(span.pts_T[0]), span.end_pts, span.time_base, {})


def test_a_blink_scores_its_steps_per_second():
    blink_THW = np.stack([np.full((4, 4), level, np.uint8) for level in (0, 200, 0)])
    assert luma_change(blink_THW, np.array([0.0, 0.1, 0.2]), 0.1) == pytest.approx(2000)


def test_luma_change_counts_time_and_not_frames():
    steps_THW = np.stack([np.full((4, 4), level, np.uint8) for level in (0, 10, 20)])
    assert luma_change(steps_THW, np.array([0.0, 0.5, 2.0]), 0.1) == pytest.approx(10)


@pytest.mark.parametrize("kept", [slice(None), slice(None, None, 2), [0, 1, 2, 4, 6, 8, 9, 10, *range(12, 51, 2)]])
def test_luma_change_of_noise_does_not_depend_on_how_many_frames_were_seen(kept):
    noise_THW = np.random.default_rng(0).integers(0, 200, (51, 32, 32), np.uint8)
    every, some = (luma_change(noise_THW[at], (np.arange(51) / 25)[at], 0.1) for at in (slice(None), kept))
    assert some == pytest.approx(every, rel=0.01)
    assert every == pytest.approx(200 / 3 * 10, rel=0.02)  # two random levels below 200 differ by a third of that


@pytest.mark.parametrize(
    "score",
    [
        lambda grey, time: luma_change(grey, time, 0.1),
        lambda grey, time: flow(grey, time, 4.0),
        lambda grey, time: static_share(grey, time, MotionConfig()),
    ],
)
def test_a_single_frame_says_which_knob_to_turn(score):
    with pytest.raises(ClipTooShort, match=r"raise scenes\.min_clip_s"):
        score(np.zeros((1, HEIGHT, WIDTH), np.uint8), np.zeros(1))


def test_a_still_does_not_move_and_stands_still_all_the_time():
    assert luma_change(still(), TIME_26, 0.1) == 0
    assert flow(still(), TIME_26, 4.0) == (0, 0)
    assert static_share(still(), TIME_26, MotionConfig()) == 1


@pytest.mark.parametrize("step_px", [1, 2, 3])
def test_a_pan_scores_its_pixels_per_second_over_the_diagonal_and_is_the_camera(step_px):
    speed, camera = flow(panned(step_px), TIME_26, 4.0)
    assert speed == pytest.approx(step_px * 25 / DIAGONAL_PX, rel=0.15)
    assert camera > 0.9


def test_a_square_before_a_still_background_is_not_the_camera():
    speed, camera = flow(with_square(2), TIME_26, 4.0)
    share_of_area = 24 * 24 / (WIDTH * HEIGHT)
    assert 0.5 < speed / (2 * 25 / DIAGONAL_PX * share_of_area) < 4
    assert camera < 0.2


def test_twice_the_rate_of_frames_at_the_same_pace_scores_the_same_flow():
    slow, _ = flow(panned(2), TIME_26, 4.0)
    fast, _ = flow(panned(1, 51), np.arange(51) / 50, 4.0)
    assert fast == pytest.approx(slow, rel=0.15)


def test_a_movement_too_slow_for_neighbouring_frames_is_not_still():
    slowly_THW = np.stack([np.roll(texture(3)[..., 0], index // 5, axis=1) for index in range(26)])
    assert static_share(slowly_THW, TIME_26, MotionConfig()) == 0


def test_a_clip_that_freezes_half_way_is_half_still():
    frozen_THW = np.concatenate([panned(2, 51), np.repeat(panned(2, 51)[-1:], 50, axis=0)])
    assert static_share(frozen_THW, np.arange(101) / 25, MotionConfig()) == pytest.approx(0.5)


def test_sensor_noise_of_two_levels_still_stands_still():
    noise_THW = np.random.default_rng(0).normal(0, 2, (26, HEIGHT, WIDTH))
    assert static_share((still() + noise_THW).astype(np.uint8), TIME_26, MotionConfig()) == 1


@pytest.mark.parametrize(
    ("num_frames", "pairs_per_s", "expected"),
    [(26, 4.0, [3, 9, 15, 21]), (3, 4.0, [1]), (2, 4.0, [0]), (3, 1000.0, [0, 1])],
)
def test_flow_pairs_lie_evenly_and_inside_the_clip(num_frames, pairs_per_s, expected):
    assert flow_pairs(np.arange(num_frames) / 25, pairs_per_s) == expected


def test_the_stage_gives_every_column_it_declares():
    stage = Motion(MotionConfig())
    span = span_of(panned(1))
    values = stage.score(clip_of(span), span)
    assert list(values) == stage.adds.names
    assert values["static_share"] == 0
    assert span.time_base == TIME_BASE


def test_a_changed_knob_changes_the_stages_identity():
    assert Motion(MotionConfig()).identity() != Motion(MotionConfig(flow_pairs_per_s=2)).identity()
