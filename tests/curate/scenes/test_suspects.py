from collections.abc import Sequence

import numpy as np
import pytest

from curate.scenes.limits import CutsConfig
from curate.scenes.suspects import suspects

EVERY_SECOND = range(0, 40, 2)


def suspected(steps: list[float], seen_S: Sequence[int] = EVERY_SECOND) -> list[int]:
    return suspects(np.array([0.0, *steps]), np.array(seen_S), CutsConfig()).tolist()


def calm(**steps: float) -> list[float]:
    """Nineteen steps of 4 levels each, but for some."""
    return [steps.get(f"k{index}", 4.0) for index in range(1, 20)]


def test_a_calm_picture_has_no_suspect():
    assert suspected(calm()) == []


def test_a_step_that_may_hide_a_cut_is_one():
    assert suspected(calm(k7=30)) == [7]


def test_a_step_a_little_below_the_limit_of_a_cut_may_hide_one_that_changes_back():
    assert suspected(calm(k7=13)) == [7]
    assert suspected(calm(k7=12)) == []


@pytest.mark.parametrize("level", [10.0, 20.0, 60.0])
def test_steady_motion_hides_no_cut_however_fast_it_is(level):
    assert suspected([0.0, 0.0, *[level] * 15, 0.0, 0.0])[1:-1] == []


def test_a_cut_between_neighbours_is_certain_if_frames_not_seen_cannot_undo_it():
    seen_S = [0, 2, 4, 6, 8, 9, 11, 13, 15]
    assert suspected([2, 2, 2, 2, 50, 2, 2, 2], seen_S) == []


def test_a_cut_between_neighbours_that_frames_not_seen_may_undo_is_a_suspect():
    seen_S = [0, 2, 4, 6, 8, 9, 11, 13, 15]
    assert suspected([2, 2, 10, 20, 36, 20, 10, 2], seen_S) == [5]


def test_fewer_than_two_frames_hide_nothing():
    assert suspected([], [0]) == []
    assert suspects(np.zeros(0), np.zeros(0, np.int64), CutsConfig()).tolist() == []
