from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards.plans.plan import sample_generator
from shards.plans.view import ClipTimes, ViewConfig, crop_box, fits, frame_numbers


def clip(num_frames: int, rate: int, start_pts: int = 0) -> ClipTimes:
    """Constant rate, time base 1/1000 s: pts are rounded to whole milliseconds, as in Matroska."""
    pts_T = start_pts + np.array([round(1000 * number / rate) for number in range(num_frames)])
    return ClipTimes(pts_T, Fraction(1, 1000), Fraction(num_frames, rate))


def numbers(times: ClipTimes, **view: object) -> list[int]:
    return frame_numbers(times, ViewConfig(**view), None).tolist()  # type: ignore[arg-type]


def test_a_third_of_the_rate_takes_every_third_frame():
    assert numbers(clip(24, 24), num_frames=8, fps=8, start="begin") == [0, 3, 6, 9, 12, 15, 18, 21]


def test_a_time_between_two_frames_shows_the_earlier_one():
    # 30 frames/s read at 8: wanted at 0, 125, 250, 375 ms; frames at 0, 33, 67, 100, 133, …, 233, 267, …, 367, 400
    assert numbers(clip(30, 30), num_frames=4, fps=8, start="begin") == [0, 3, 7, 11]


def test_a_higher_rate_repeats_frames():
    assert numbers(clip(4, 4), num_frames=8, fps=8, start="begin") == [0, 0, 1, 1, 2, 2, 3, 3]


def test_frames_are_found_by_time_where_the_rate_varies():
    times = ClipTimes(np.array([500, 600, 1100, 1200, 1900]), Fraction(1, 1000), Fraction(2))
    # Wanted at 500, 1000, 1500 and 2000 ms.
    assert numbers(times, num_frames=4, fps=2, start="begin") == [0, 1, 3, 4]


def test_no_rate_takes_consecutive_frames():
    assert numbers(clip(10, 24), num_frames=4, fps=None, start="center") == [3, 4, 5, 6]


def test_the_last_frame_is_shown_until_the_clip_ends():
    # The 16th frame at 8 frames/s is wanted at 1.875 s; a clip of 1.9 s with frames until 1.5 s still shows one then.
    times = ClipTimes(np.array([0, 500, 1000, 1500]), Fraction(1, 1000), Fraction(19, 10))
    assert numbers(times, num_frames=16, fps=8, start="begin")[-1] == 3


def test_random_starts_reach_every_frame_from_which_the_view_fits():
    view = ViewConfig(num_frames=4, fps=4)  # three steps of 0.25 s; in 1.5 s it may start before 0.75 s
    starts = {int(frame_numbers(clip(12, 8), view, sample_generator(0, 0, n))[0]) for n in range(200)}
    assert starts == {0, 1, 2, 3, 4, 5}


def test_a_clip_that_is_too_short_is_refused():
    with pytest.raises(ValueError, match=r"clip has 7 frames in 0\.875 s; the view needs more"):
        numbers(clip(7, 8), num_frames=8, fps=8, start="begin")


@given(st.integers(1, 40), st.integers(1, 60), st.integers(1, 20), st.integers(1, 30), st.integers(0, 9))
def test_fits_says_exactly_when_frames_are_found(num_frames: int, rate: int, wanted: int, fps: int, seed: int):
    times = clip(num_frames, rate)
    span = {
        "source_start_pts": 5,
        "source_end_pts": 5 + num_frames,
        "source_time_base_num": 1,
        "source_time_base_den": rate,
    }
    table = pa.table({name: [value] for name, value in {**span, "num_frames": num_frames}.items()})
    view = ViewConfig(num_frames=wanted, fps=fps)
    if fits(table, view)[0]:
        found = frame_numbers(times, view, sample_generator(seed, 0, 0))
        assert len(found) == wanted
        assert np.all(np.diff(found) >= 0)
        assert 0 <= found[0] <= found[-1] < num_frames
    else:
        with pytest.raises(ValueError, match="the view needs more"):
            frame_numbers(times, view, None)


def test_rates_of_television_are_exact():
    assert ViewConfig(fps=24000 / 1001).rate == Fraction(24000, 1001)
    assert ViewConfig(fps=29.97).rate == Fraction(2997, 100)


def test_the_middle_of_the_views_aspect_is_kept():
    assert crop_box(1080, 1920, Fraction(1), 32, 32) == (0, 420, 1080, 1080)
    assert crop_box(1920, 1080, Fraction(1), 32, 32) == (420, 0, 1080, 1080)
    assert crop_box(480, 640, Fraction(1), 48, 64) == (0, 0, 480, 640)
    # Pixels twice as wide as high: 720 of them show as 1440, so half of the columns make a square with 360 lines.
    assert crop_box(360, 720, Fraction(2), 32, 32) == (0, 270, 360, 180)
