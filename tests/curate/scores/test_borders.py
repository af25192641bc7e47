import numpy as np
import pytest

from curate.scores.borders import Borders, BordersConfig, Box, border_box
from curate.stage import Clip
from tests.curate.scans import HEIGHT, WIDTH, span_of, texture

CONFIG = BordersConfig()


def boxed(left: int = 0, right: int = 0, top: int = 0, bottom: int = 0, num_frames: int = 5) -> np.ndarray:
    """A picture that moves behind black borders of so many pixels, stored in limited range, with a coder's ringing."""
    picture_HW = np.clip(texture(1)[..., 0], 60, 235)
    frames_THW = np.stack([np.roll(picture_HW, 5 * index, axis=1) for index in range(num_frames)])
    mask_HW = np.ones((HEIGHT, WIDTH), bool)
    mask_HW[top : HEIGHT - bottom, left : WIDTH - right] = False
    ringing_THW = np.random.default_rng(0).integers(14, 20, frames_THW.shape, np.uint8)
    return np.where(mask_HW, ringing_THW, frames_THW)


def test_letterbox_and_pillarbox_are_measured_as_shares_of_the_picture():
    assert border_box(boxed(top=9, bottom=9), CONFIG) == Box(0, 0, 9 / 72, 9 / 72)
    assert border_box(boxed(left=16, right=8), CONFIG) == Box(16 / 128, 8 / 128, 0, 0)


def test_a_border_all_around_counts_each_pixel_once():
    box = border_box(boxed(16, 16, 9, 9), CONFIG)
    assert box == Box(16 / 128, 16 / 128, 9 / 72, 9 / 72)
    assert box.border_share == pytest.approx(1 - 96 * 54 / (128 * 72))


def test_a_picture_without_borders_has_none():
    assert border_box(boxed(), CONFIG).border_share == 0


def test_a_line_that_is_black_for_a_while_is_no_border():
    frames_THW = boxed(top=9)
    frames_THW[-1, :9] = 120
    assert border_box(frames_THW, CONFIG).top == 0


def test_a_dark_but_living_edge_is_no_border():
    frames_THW = boxed()
    frames_THW[:, :10] = np.random.default_rng(0).integers(16, 32, (5, 10, WIDTH), np.uint8)
    assert border_box(frames_THW, CONFIG).top == 0


def test_a_black_picture_is_border_all_over():
    box = border_box(np.full((3, HEIGHT, WIDTH), 16, np.uint8), CONFIG)
    assert box == Box(0.5, 0.5, 0.5, 0.5)
    assert box.border_share == 1


def test_the_stage_gives_every_column_it_declares():
    stage = Borders(CONFIG)
    span = span_of(boxed(top=18))
    values = stage.score(Clip("c", "v", 0, span.end_pts, span.time_base, {}), span)
    assert list(values) == stage.adds.names
    assert values["border_share"] == values["border_top"] == 0.25
