"""Which way a loader's bytes come: straight from storage or through a cache, and how many of a batch at once."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from shards.reading.config import ReadingConfig
from shards.reading.reader import ShardDataset
from shards.storage.cache import CachedStore
from shards.storage.store import LocalFolder, Store


def reading_store(store: Store, reading: ReadingConfig) -> Store:
    """The store as a loader reads it."""
    if reading.cache is None or isinstance(store, LocalFolder | CachedStore):
        return store
    return CachedStore(store, reading.cache)


class ReadAhead:
    """Reads the members of a batch at once where a read is a wait, one after another where it is not."""

    def __init__(self, dataset: ShardDataset, num_threads: int) -> None:
        self.dataset = dataset
        self.num_threads = 0 if dataset.is_local else num_threads
        self._pool: ThreadPoolExecutor | None = None
        self._reads: dict[tuple[int, str], Future[bytes]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return ReadAhead, (self.dataset, self.num_threads)

    def start(self, sample_ids: Sequence[int], suffixes: Sequence[str]) -> None:
        """Begin with what will be wanted: these members of each sample."""
        if self.num_threads < 2:
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.num_threads, thread_name_prefix="read-ahead")
        for read in self._reads.values():  # of a batch that failed
            read.cancel()
        self._reads = {
            (sample_id, suffix): self._pool.submit(self.dataset.read_member, sample_id, suffix)
            for sample_id in dict.fromkeys(sample_ids)
            for suffix in suffixes
        }

    def read(self, sample_id: int, suffix: str) -> bytes:
        """A member's bytes; errors as of `ShardDataset.read_member`."""
        begun = self._reads.pop((sample_id, suffix), None)
        return self.dataset.read_member(sample_id, suffix) if begun is None else begun.result()
