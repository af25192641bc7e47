import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.models.caption_layout import motion_tile, pick_frames, tile_frames
from shards.errors import ClipTooShort


def grey_frames(num_frames: int, side_px: int = 8) -> list[np.ndarray]:
    """Frame i is grey of level 10 * i."""
    return [np.full((side_px, side_px, 3), 10 * index, np.uint8) for index in range(num_frames)]


@pytest.mark.parametrize(
    ("num_available", "num_wanted", "indices"),
    [
        (16, 4, [0, 5, 10, 15]),
        (16, 3, [0, 8, 15]),
        (16, 1, [8]),
        (3, 4, [0, 1, 2]),
        (1, 1, [0]),
        (31, 16, list(range(0, 31, 2))),
    ],
)
def test_frames_are_picked_evenly_with_both_ends(num_available, num_wanted, indices):
    assert pick_frames(num_available, num_wanted) == indices


@given(st.integers(1, 500), st.integers(2, 40))
def test_picked_frames_are_distinct_increasing_and_never_two_steps_apart(num_available, num_wanted):
    indices = pick_frames(num_available, num_wanted)
    steps = np.diff(indices)
    assert len(indices) == min(num_available, num_wanted)
    assert indices[0] == 0
    assert indices[-1] == num_available - 1
    assert len(steps) == 0 or (steps.min() >= 1 and steps.max() - steps.min() <= 1)


def test_single_is_the_middle_frame():
    image_HWC = tile_frames(grey_frames(5), "single", 8)
    assert image_HWC.shape == (8, 8, 3)
    assert (image_HWC == 20).all()


def test_grid_reads_like_text_in_time_order():
    image_HWC = tile_frames(grey_frames(16), "grid", 8)
    corners = image_HWC[[0, 0, 8, 8], [0, 8, 0, 8], 0]
    assert image_HWC.shape == (16, 16, 3)
    assert corners.tolist() == [0, 50, 100, 150]  # frames 0, 5, 10, 15


def test_motion_tile_shows_where_the_thing_is_early_mid_way_and_late():
    frames_THWC = np.zeros((16, 1, 16, 3), np.uint8)
    for moment in range(16):
        frames_THWC[moment, 0, moment, 1] = 200  # a green dot goes one pixel to the right per frame
    tile_HWC = motion_tile(frames_THWC)
    assert [np.flatnonzero(tile_HWC[0, :, colour]).tolist() for colour in range(3)] == [[1], [8], [14]]
    assert tile_HWC.max() == 200


def test_a_reversed_clip_swaps_red_and_blue_of_the_motion_tile():
    frames_THWC = np.random.default_rng(0).integers(0, 256, (15, 8, 8, 3), np.uint8)
    forward_HWC, backward_HWC = motion_tile(frames_THWC), motion_tile(frames_THWC[::-1])
    np.testing.assert_array_equal(forward_HWC, backward_HWC[:, :, ::-1])


def test_grid_motion_is_three_stills_and_the_motion_tile():
    frames_THWC = np.random.default_rng(0).integers(0, 256, (16, 8, 8, 3), np.uint8)
    image_HWC = tile_frames(list(frames_THWC), "grid_motion", 8)
    np.testing.assert_array_equal(image_HWC[:8, :8], frames_THWC[0])
    np.testing.assert_array_equal(image_HWC[:8, 8:], frames_THWC[8])
    np.testing.assert_array_equal(image_HWC[8:, :8], frames_THWC[15])
    np.testing.assert_array_equal(image_HWC[8:, 8:], motion_tile(frames_THWC))


def test_a_still_clip_has_a_black_motion_tile():
    frame_HWC = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    assert tile_frames([frame_HWC] * 6, "grid_motion", 8)[8:, 8:].max() == 0


def test_a_wide_frame_is_squeezed_into_its_tile_whole():
    frame_HWC = np.zeros((8, 32, 3), np.uint8)
    frame_HWC[:, 16:] = 240  # right half
    tile_HWC = tile_frames([frame_HWC], "single", 8)
    assert (tile_HWC[:, :4] == 0).all()
    assert (tile_HWC[:, 4:] == 240).all()


@pytest.mark.parametrize(("layout", "least"), [("single", 1), ("grid", 4), ("grid_motion", 5)])
def test_too_few_frames_say_which_knob_to_turn(layout, least):
    assert tile_frames(grey_frames(least), layout, 8).dtype == np.uint8
    with pytest.raises(ClipTooShort, match=rf"needs {least}; lower scan\.model_frames\.interval_s"):
        tile_frames(grey_frames(least - 1), layout, 8)
