"""Random orders that are computed place by place: no list is held, so any place of any epoch costs the same.

Keys come from Philox4x64-10, whose stream is fixed for good; everything else is integer arithmetic that another
language can repeat.
"""

import hashlib
from itertools import pairwise
from math import isqrt
from typing import Protocol

import numpy as np

ROUNDS = 10
SORTED_SIZE = 4096  # up to here a permutation is sorted out: exact, where a network of few digits would show a pattern


class Order(Protocol):
    """Which item stands at a place."""

    def __call__(self, places_N: np.ndarray) -> np.ndarray:
        """Items (int64) at these places, 0 <= place < number of items."""
        ...


def in_order(places_N: np.ndarray) -> np.ndarray:
    """The order of things that are not shuffled."""
    return places_N


class Permutation:
    """A pseudorandom permutation of 0 … size - 1.

    Up to SORTED_SIZE items are sorted by as many 64-bit words of their generator. More are numbered by a Feistel
    network of ten rounds over pairs (left, right) of digits below a = ceil(sqrt(size)); what falls outside is sent
    through again until it is inside. A round is (left, right) -> (right, (left + mix(right + key)) mod a), sums modulo
    2^64.

    Args:
        size: number of items.
        name: of the permutation: its parts, joined by colons, give the key.

    Source: Black and Rogaway, Ciphers with arbitrary finite domains, 2002 (generalised Feistel, cycle walking).
    """

    def __init__(self, size: int, *name: object) -> None:
        self.size = size
        self._radix = np.uint64(isqrt(max(size - 1, 0)) + 1)
        words = philox(*name).random_raw(size if size <= SORTED_SIZE else ROUNDS)
        self._sorted = np.argsort(words, kind="stable") if size <= SORTED_SIZE else None
        self._keys = words

    def __call__(self, places_N: np.ndarray) -> np.ndarray:
        """Items at these places."""
        if self._sorted is not None:
            return self._sorted[places_N]
        items_N = self._network(np.asarray(places_N).astype(np.uint64))
        outside = np.flatnonzero(items_N >= self.size)
        while len(outside):
            items_N[outside] = self._network(items_N[outside])
            outside = outside[items_N[outside] >= self.size]
        return items_N.astype(np.int64)

    def _network(self, values_N: np.ndarray) -> np.ndarray:
        left_N, right_N = np.divmod(values_N, self._radix)
        for key in self._keys:
            left_N, right_N = right_N, (left_N + mix(right_N + key)) % self._radix
        return left_N * self._radix + right_N


class BlockOrder:
    """Groups (shards) in random order, cut into blocks of so many; the items of a block in random order.

    Args:
        bounds_S1: int64, increasing; group s holds the items bounds_S1[s] … bounds_S1[s + 1] - 1, maybe none.
        groups_per_block: the last block may have fewer.
        name: of the order, for its key.

    Attributes:
        groups_K: the groups of each block.
        bounds_K1: block k has the places bounds_K1[k] … bounds_K1[k + 1] - 1.
    """

    def __init__(self, bounds_S1: np.ndarray, groups_per_block: int, *name: object) -> None:
        held = np.flatnonzero(np.diff(bounds_S1))
        groups_S = held[Permutation(len(held), *name, "groups")(np.arange(len(held)))]
        self._first_S = np.asarray(bounds_S1)[groups_S]
        sizes_S = np.asarray(bounds_S1)[groups_S + 1] - self._first_S
        self._starts_S1 = np.concatenate([[0], np.cumsum(sizes_S)])
        cuts_K1 = np.append(np.arange(0, len(held), groups_per_block), len(held))
        self.groups_K = [groups_S[start:end] for start, end in pairwise(cuts_K1.tolist())]
        self.bounds_K1 = self._starts_S1[cuts_K1]
        self._name = name

    def __call__(self, places_N: np.ndarray) -> np.ndarray:
        """Items at these places."""
        within_N = np.empty(len(places_N), np.int64)
        block_N = np.searchsorted(self.bounds_K1, places_N, side="right") - 1
        for block in np.unique(block_N):
            start, end = self.bounds_K1[block : block + 2]
            inside = block_N == block
            shuffled = Permutation(int(end - start), *self._name, int(block))
            within_N[inside] = start + shuffled(places_N[inside] - start)
        group_N = np.searchsorted(self._starts_S1, within_N, side="right") - 1
        return self._first_S[group_N] + within_N - self._starts_S1[group_N]


def philox(*name: object) -> np.random.Philox:
    """A bit generator of its own for every name: key = the first 16 bytes of sha256("a:b:c"), little-endian."""
    key = hashlib.sha256(":".join(map(str, name)).encode()).digest()[:16]
    return np.random.Philox(key=np.frombuffer(key, "<u8"))


def mix(values_N: np.ndarray) -> np.ndarray:
    """Scrambles uint64 numbers, one to one; the finaliser of SplitMix64 (Steele, Lea, Flood, 2014)."""
    values_N = (values_N ^ (values_N >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values_N = (values_N ^ (values_N >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values_N ^ (values_N >> np.uint64(31))
