import cv2
import numpy as np
import pytest

from curate.scores.light import Light, LightConfig, sampled, sharpness
from curate.stage import Clip
from shards.errors import ClipTooShort
from tests.curate.scans import HEIGHT, WIDTH, span_of, texture


def scored(grey_THW: np.ndarray) -> dict:
    span = span_of(grey_THW)
    return dict(Light(LightConfig()).score(Clip("c", "v", 0, span.end_pts, span.time_base, {}), span))


def halves(left: int, right: int, num_frames: int = 10) -> np.ndarray:
    frame_HW = np.full((HEIGHT, WIDTH), left, np.uint8)
    frame_HW[:, WIDTH // 2 :] = right
    return np.repeat(frame_HW[None], num_frames, axis=0)


def test_a_half_dark_half_bright_picture_scores_what_one_can_count():
    values = scored(halves(20, 240))
    assert values["luma_mean"] == pytest.approx(130)
    assert values["luma_std"] == pytest.approx(110)
    assert values["dark_share"] == values["bright_share"] == 0.5


def test_a_flicker_of_flat_frames_has_no_contrast_within_a_frame():
    flicker_THW = np.stack([np.full((HEIGHT, WIDTH), level, np.uint8) for level in (50, 200) * 20])
    assert scored(flicker_THW)["luma_std"] == 0


def test_sharpness_of_one_bright_pixel_is_the_variance_of_the_laplacian_kernel():
    frame_HW = np.zeros((10, 10), np.uint8)
    frame_HW[5, 5] = 100
    # The 3x3 Laplacian leaves -400 once and 100 four times among 100 pixels: mean 0, mean square 2000.
    assert sharpness(frame_HW[None]) == pytest.approx(2000)


def test_blur_lowers_sharpness():
    noise_HW = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH), np.uint8)
    blurred_HW = cv2.GaussianBlur(noise_HW, (0, 0), 2)
    assert sharpness(blurred_HW[None]) < sharpness(noise_HW[None]) / 20


def test_a_few_blurred_frames_do_not_make_a_clip_blurred():
    sharp_HW = texture(1)[..., 0]
    frames_THW = np.stack([sharp_HW] * 3 + [cv2.GaussianBlur(sharp_HW, (0, 0), 3)] * 2)
    assert sharpness(frames_THW) == sharpness(sharp_HW[None])


@pytest.mark.parametrize(("num_frames", "rate", "expected"), [(101, 1.0, 4), (3, 4.0, 1), (3, 1000.0, 3), (1, 4.0, 1)])
def test_frames_are_sampled_by_time_and_never_twice(num_frames, rate, expected):
    grey_THW = np.arange(num_frames, dtype=np.uint8)[:, None, None] * np.ones((1, 4, 4), np.uint8)
    chosen = sampled(grey_THW, np.arange(num_frames) / 25, rate)[:, 0, 0].tolist()
    assert len(chosen) == expected == len(set(chosen))
    assert chosen == sorted(chosen)


def test_frames_at_variable_rate_are_sampled_by_time():
    grey_THW = np.arange(12, dtype=np.uint8)[:, None, None] * np.ones((1, 4, 4), np.uint8)
    bunched = np.array([0.0, *(1.9 + 0.01 * np.arange(10)), 4.0])
    assert sampled(grey_THW, bunched, 0.5)[:, 0, 0].tolist() == [1, 11]


def test_a_clip_without_frames_has_no_light():
    with pytest.raises(ClipTooShort, match="light needs 1"):
        sampled(np.zeros((0, 4, 4), np.uint8), np.zeros(0), 4.0)


def test_the_stage_gives_every_column_it_declares():
    assert list(scored(halves(20, 240))) == Light(LightConfig()).adds.names
