from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards.plans.buckets import Bucket


def drawn(weights: list[float] | None, draws: int, size: int = 0) -> Bucket:
    mass = None if weights is None else np.cumsum(weights)
    return Bucket("b", np.arange(size or len(weights or [])), 1, draws, is_drawn=True, mass_N=mass)


def counts(bucket: Bucket, offset: float) -> Counter[int]:
    return Counter(bucket.ids_at(np.arange(bucket.num_items), offset).tolist())


def test_draws_are_in_proportion_to_the_weights():
    assert counts(drawn([1, 3, 2], 12), 0.5) == {0: 2, 1: 6, 2: 4}


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40), st.integers(1, 100), st.floats(0, 0.999))
def test_a_sample_is_drawn_as_often_as_its_weight_says_rounded_down_or_up(
    weights: list[int], draws: int, offset: float
):
    found = counts(drawn([float(weight) for weight in weights], draws), offset)
    assert sum(found.values()) == draws
    for sample, weight in enumerate(weights):
        expected = draws * weight / sum(weights)
        assert expected - 1 - 1e-6 < found[sample] < expected + 1 + 1e-6


def test_over_many_offsets_the_mean_is_the_expected_count():
    found = sum((counts(drawn([1, 2, 4], 3), (n + 0.5) / 700) for n in range(700)), Counter())
    assert [found[sample] for sample in range(3)] == [300, 600, 1200]


def test_equal_weights_need_no_masses():
    for offset in (0.1, 0.9):
        assert counts(drawn(None, 5, size=20), offset) == counts(drawn([1.0] * 20, 5), offset)


def test_bounds_of_shards_hold_the_draws_of_their_samples():
    weights = [1.0, 3.0, 2.0, 2.0]
    bucket = Bucket("b", np.arange(4), 1, 8, is_drawn=True, mass_N=np.cumsum(weights), bounds_S1=np.array([0, 2, 3, 4]))
    for offset in (0.0, 0.3, 0.9):
        bounds = bucket.item_bounds(offset)
        shards = [bucket.ids_at(np.arange(*bounds[n : n + 2]), offset).tolist() for n in range(3)]
        assert [set(ids) for ids in shards] == [{0, 1}, {2}, {3}]
        assert sum(map(len, shards)) == 8


def test_bounds_that_were_not_made_are_no_guess():
    with pytest.raises(ValueError, match="no bounds of shards"):
        drawn([1.0], 1).item_bounds(0.0)
