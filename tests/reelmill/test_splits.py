"""Strips of the loss: means over stretches, shaded by their logarithm."""

import pytest

from reelmill.splits import MAX_CELLS, MAX_ROWS, split_of


def test_shades_are_even_steps_of_the_logarithm():
    split = split_of("level", ["low", "high"], [[1.0, 100.0], [10.0, None]])
    assert split is not None
    assert (split.low, split.high, split.num_cells) == (1.0, 100.0, 2)
    low, high = split.strips
    assert low.cells == ((0, "0.05"), (1, "0.53"))  # 0.05 + 0.95 / 2, log 10 between log 1 and log 100
    assert high.cells == ((0, "1.00"),)  # nothing fell into it in the second stretch
    assert (low.first, low.last, high.first, high.last) == (1.0, 10.0, 100.0, 100.0)


def test_many_steps_become_means_of_equal_stretches():
    split = split_of("frame", ["frame 0"], [[float(step % 2)] for step in range(4 * MAX_CELLS)])
    assert split is not None
    assert split.num_cells == MAX_CELLS
    assert split.strips[0].first == split.strips[0].last == pytest.approx(0.5)


def test_bins_that_never_had_a_frame_have_no_strip_and_a_split_of_none_is_none():
    split = split_of("text", ["said", "left out"], [[None, 2.0], [None, 2.0], []])
    assert split is not None
    assert [strip.label for strip in split.strips] == ["left out"]
    assert split_of("text", ["said"], [[None], [None]]) is None
    assert split_of("text", ["said"], []) is None


def test_rows_beyond_the_most_are_counted():
    labels = [f"frame {number}" for number in range(MAX_ROWS + 3)]
    split = split_of("frame", labels, [[1.0] * len(labels)])
    assert split is not None
    assert (len(split.strips), split.num_left_out) == (MAX_ROWS, 3)
