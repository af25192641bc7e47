"""What the commands about versions read: every index once, however many checks need it."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shards.storage.store import LocalFolder
from shards.versions.manifest import Manifest
from shards.versions.verify import verify
from shards.versions.withdraw import withdraw


class Counting(LocalFolder):
    """A folder that counts how often an object is read whole."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.reads: Counter[str] = Counter()

    def get(self, path: str) -> bytes:
        """See Store."""
        self.reads[path] += 1
        return super().get(path)

    def of(self, folder: str) -> list[int]:
        """Reads of each object below a folder that was read."""
        return [number for path, number in self.reads.items() if path.startswith(folder)]


@pytest.fixture
def store(tmp_path: Path, dataset_of: Callable[..., Manifest]) -> Counting:
    """Three shards."""
    dataset_of(12)
    return Counting(tmp_path / "dataset")


def test_verify_reads_each_shard_and_each_index_once(store: Counting):
    assert verify(store) == []
    assert (store.of("index/"), store.of("shards/")) == ([1] * 3, [1] * 3)


def test_a_quick_verify_reads_no_shard_and_no_index(store: Counting):
    assert verify(store, deep=False) == []
    assert (store.of("index/"), store.of("shards/")) == ([], [])


@pytest.mark.parametrize("names", [{"keys": ["clip-003"]}, {"sources": ["video-of-clip-003"]}])
def test_withdrawing_what_is_published_reads_each_index_once(store: Counting, names: dict[str, Any]):
    assert withdraw(store, reason="asked to", **names).stats.num_samples == 11
    assert (store.of("index/"), store.of("shards/")) == ([1] * 3, [])


def test_withdrawing_a_uri_looks_at_samples_that_are_not_published_too(store: Counting):
    assert withdraw(store, reason="asked to", sources=["/videos/clip-003.mp4"]).stats.num_samples == 11
    assert store.of("index/") == [2] * 3
