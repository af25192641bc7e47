import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards.plans.permutation import SORTED_SIZE, BlockOrder, Permutation, mix, philox


@given(st.integers(1, 3 * SORTED_SIZE), st.integers(0, 99))
def test_every_item_has_one_place(size: int, seed: int):
    assert np.array_equal(np.sort(Permutation(size, "test", seed)(np.arange(size))), np.arange(size))


@pytest.mark.parametrize("size", [100, 10**7])
def test_places_are_computed_alone(size: int):
    """A place deep inside costs and gives the same without those before it."""
    places = np.array([0, size // 2, size - 1])
    order = Permutation(size, "test")
    assert order(places).tolist() == [int(order(places[n : n + 1])[0]) for n in range(3)]


def test_all_orders_of_four_items_are_as_likely():
    found = Counter(tuple(Permutation(4, "test", seed)(np.arange(4)).tolist()) for seed in range(2400))
    assert set(found) == set(itertools.permutations(range(4)))
    assert min(found.values()) > 60  # 100 expected, deviation 10


def test_large_orders_have_no_pattern():
    """Chi-square of where the first eighth comes from, and of the steps between neighbours: 64 cells, mean 63 +- 11."""
    size, cells = 3 * SORTED_SIZE + 1, 64
    places, steps = np.zeros(cells), np.zeros(cells)
    for seed in range(20):
        items = Permutation(size, "test", seed)(np.arange(size))
        places += np.histogram(items[: size // 8], bins=cells, range=(0, size))[0]
        steps += np.histogram(np.diff(items) % size, bins=cells, range=(0, size))[0]
    for counts in (places, steps):
        expected = counts.sum() / cells
        assert ((counts - expected) ** 2 / expected).sum() < 63 + 4 * 11.2


def test_the_network_is_the_one_that_the_format_describes():
    """a = ceil(sqrt(10000)) = 100; ten rounds over two digits; written out with Python's integers."""
    keys = philox("x", 1).random_raw(10).tolist()
    left, right = divmod(1234, 100)
    for key in keys:
        left, right = right, (left + mixed((right + key) % 2**64)) % 2**64 % 100
    assert left * 100 + right < 10000
    assert Permutation(10000, "x", 1)(np.array([1234])).tolist() == [left * 100 + right]


def mixed(value: int) -> int:
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB % 2**64
    return value ^ (value >> 31)


def test_mixing_gives_the_numbers_of_splitmix64():
    """Known answer: the first number of SplitMix64 with seed 0 (state 0x9E3779B97F4A7C15)."""
    assert int(mix(np.array([0x9E3779B97F4A7C15], np.uint64))[0]) == 0xE220A8397B1DCDAF


@given(st.lists(st.integers(0, 9), min_size=1, max_size=30).filter(any), st.integers(1, 8), st.integers(0, 99))
def test_blocks_hold_whole_groups_and_every_item_once(sizes: list[int], per_block: int, seed: int):
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    order = BlockOrder(bounds, per_block, "test", seed)
    items = order(np.arange(bounds[-1]))
    assert sorted(items.tolist()) == list(range(bounds[-1]))
    groups = np.searchsorted(bounds, items, side="right") - 1
    for block, (start, end) in enumerate(itertools.pairwise(order.bounds_K1.tolist())):
        assert set(groups[start:end].tolist()) == set(order.groups_K[block].tolist())
        assert len(order.groups_K[block]) <= per_block
    assert sum(map(len, order.groups_K)) == np.count_nonzero(sizes)


def test_philox_gives_the_words_of_its_authors():
    """Known answer of Philox4x64-10 for key 0, counter 0 (Random123, kat_vectors); numpy counts before it draws."""
    generator = np.random.Philox(key=0, counter=2**256 - 1)
    assert generator.random_raw(4).tolist() == [
        0x16554D9ECA36314C,
        0xDB20FE9D672D0FDC,
        0xD7E772CEE186176B,
        0x7E68B68AEC7BA23B,
    ]
