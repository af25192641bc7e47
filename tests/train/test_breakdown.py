import numpy as np
import pytest
import torch

from train.breakdown import NOWHERE, Axis, Breakdown, decile_edges, frame_axis, level_axis, level_bins
from train.clip_bins import _of_scores, _of_sources


def test_losses_fall_into_bins_of_level_frame_and_clip():
    losses_BT, t_BT = torch.tensor([[1.0, 3.0], [5.0, 7.0]]), torch.tensor([[0.1, 0.2], [0.9, 1.0]])
    split = Breakdown((level_axis(4), frame_axis(2), Axis("source", ("a", "b"))))
    bins = {"level": level_bins(t_BT, 4), "frame": torch.arange(2), "source": torch.tensor([[1], [NOWHERE]])}
    assert split.means(split.sums(losses_BT, bins)) == {
        "level": [2.0, None, None, 6.0], "frame": [3.0, 5.0], "source": [None, 2.0],
    }  # fmt: skip


def test_sums_of_two_halves_are_those_of_the_whole():
    losses_BT, split = torch.rand(4, 3), Breakdown((frame_axis(3),))
    halves = [split.sums(part, {"frame": torch.arange(3)}) for part in losses_BT.split(2)]
    whole = split.sums(losses_BT, {"frame": torch.arange(3)})
    assert torch.allclose(halves[0] + halves[1], whole)


def test_tenths_hold_a_tenth_each_and_nulls_count_nowhere():
    assert decile_edges([float(value) for value in range(100)]) == [10, 20, 30, 40, 50, 60, 70, 80, 90]
    axis, bins_N = _of_scores("flow_mag", np.append(np.arange(100, dtype=np.float32), np.nan))
    assert np.bincount(bins_N[:-1]).tolist() == [10] * 10
    assert bins_N[-1] == NOWHERE
    assert axis.labels[0] == "–10"
    assert len(axis.labels) == 10


def test_a_column_of_nulls_has_one_empty_bin():
    axis, bins_N = _of_scores("nsfw", np.full(3, np.nan, np.float32))
    assert (len(axis.labels), bins_N.tolist()) == (1, [NOWHERE] * 3)


def test_the_largest_sources_have_a_bin_each():
    axis, bins_N = _of_sources(["b", "a", "b", "c", "a", "b"], 2)
    assert axis.labels == ("b", "a", "other")
    assert bins_N.tolist() == [0, 1, 0, 2, 1, 0]


def test_losses_that_are_not_finite_are_none():
    split = Breakdown((frame_axis(1),))
    assert split.means(split.sums(torch.tensor([[float("nan")]]), {"frame": torch.arange(1)})) == {"frame": [None]}
    assert split.means(torch.tensor([[3.0], [2.0]])) == {"frame": [pytest.approx(1.5)]}
