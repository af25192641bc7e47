import itertools
import os
import pickle
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from shards.errors import ConfigError, ContractError
from shards.plans.plan import PlanConfig
from shards.plans.view import ViewConfig
from shards.reading.batch import Batch, loader
from shards.reading.config import CacheConfig, ReadingConfig
from shards.reading.fetching import ReadAhead, reading_store
from shards.reading.mixture import MixedDataset
from shards.reading.reader import ShardDataset, open_dataset
from shards.storage.cache import CachedStore
from shards.storage.store import LocalFolder
from shards.versions.manifest import Manifest
from tests.shards.storage.remote import Remote

VIEW = ViewConfig(num_frames=4, fps=4, height=12, width=16)
PLAN = PlanConfig(global_batch=4, shuffle="none")


@pytest.fixture
def remote(tmp_path: Path, dataset_of: Callable[..., Manifest]) -> Remote:
    """12 samples, 3 per shard: 4 shards of about 27 KiB."""
    dataset_of(12, per_shard=3)
    return Remote(tmp_path / "dataset")


def cached(remote: Remote, folder: Path, limit_bytes: int = 1 << 30) -> tuple[ShardDataset, CachedStore]:
    dataset, store = open_dataset(remote), CachedStore(remote, CacheConfig(dir=str(folder), limit_bytes=limit_bytes))
    return dataset.through(lambda _: store), store


def test_a_shard_is_fetched_once_and_read_from_disk(remote: Remote, tmp_path: Path):
    dataset, _ = cached(remote, tmp_path / "cache")
    near = open_dataset(remote.folder)
    for sample_id in (0, 1, 2, 0):
        assert dataset.read(sample_id) == near.read(sample_id)
    again, _ = cached(remote, tmp_path / "cache")  # another process, or another run
    assert again.read(1) == near.read(1)
    assert dict(remote.reads) == {dataset.manifest.shards[0].shard.path: 1}
    assert [path.name for path in (tmp_path / "cache").iterdir() if not path.name.startswith(".")] == [
        dataset.manifest.shards[0].shard.sha256
    ]


def test_a_worker_process_maps_the_cached_plan_index(remote: Remote, tmp_path: Path):
    dataset, store = cached(remote, tmp_path / "cache")
    again = pickle.loads(pickle.dumps(dataset))
    assert store.local_copy(dataset.manifest.plan_index).is_file()
    assert again.rows.equals(dataset.rows)
    assert again.read(3) == dataset.read(3)


def test_what_was_not_used_for_longest_leaves_first(remote: Remote, tmp_path: Path):
    files = [commit.shard for commit in open_dataset(remote).manifest.shards]
    dataset, store = cached(remote, tmp_path / "cache", sum(file.size_bytes for file in files[:3]))
    for age_s, shard in ((300, 0), (200, 1), (100, 2)):
        dataset.read_member(3 * shard, "txt")
        then_s = os.stat(store.local_copy(files[shard])).st_mtime - age_s
        os.utime(store.local_copy(files[shard]), (then_s, then_s))
    store._touched.clear()
    dataset.read_member(0, "txt")  # the oldest is used again
    dataset.read_member(9, "txt")
    there = {path.name for path in (tmp_path / "cache").iterdir()}
    assert [file.sha256 in there for file in files] == [True, False, True, True]


def test_a_file_in_use_may_leave_and_comes_back(remote: Remote, tmp_path: Path):
    dataset, store = cached(remote, tmp_path / "cache")
    dataset.read(0)
    assert store.forget(dataset.manifest.shards[0].shard.path)
    assert dataset.read(0) == open_dataset(remote.folder).read(0)
    assert remote.reads.total() == 2


def test_a_local_copy_that_rots_is_fetched_again(remote: Remote, tmp_path: Path):
    dataset, store = cached(remote, tmp_path / "cache")
    good = dataset.read(0)
    path = store.local_copy(dataset.manifest.shards[0].shard)
    data = bytearray(path.read_bytes())
    data[int(dataset.rows.column("mp4_offset")[0].as_py()) + 9] ^= 1
    path.write_bytes(data)
    assert dataset.read(0) == good


def test_a_shard_that_is_damaged_over_there_is_read_by_members(remote: Remote, tmp_path: Path):
    dataset, _ = cached(remote, tmp_path / "cache")
    tar = remote.folder.local_path(dataset.manifest.shards[0].shard.path)
    data = bytearray(tar.read_bytes())
    data[int(dataset.rows.column("mp4_offset")[1].as_py()) + 9] ^= 1
    tar.unlink()
    tar.write_bytes(data)
    assert dataset.read(0)
    with pytest.raises(ContractError, match=r"sample 1, \.mp4"):
        dataset.read(1)
    assert remote.reads.total() < 9  # not the whole shard for each member


def test_a_cache_smaller_than_a_shard_is_refused(remote: Remote, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"reading\.cache\.limit_bytes is 1000; .* alone has"):
        cached(remote, tmp_path / "cache", 1000)


def test_only_remote_stores_are_wrapped(remote: Remote, tmp_path: Path):
    here, cache = LocalFolder(tmp_path), CacheConfig(dir=str(tmp_path / "cache"))
    assert reading_store(here, ReadingConfig(cache=cache)) is here
    assert reading_store(remote, ReadingConfig()) is remote
    assert isinstance(reading_store(remote, ReadingConfig(cache=cache)), CachedStore)


def batches(dataset: ShardDataset, reading: ReadingConfig) -> list[Batch]:
    return list(itertools.islice(loader(dataset, dataset.plan(PLAN, VIEW), VIEW, reading=reading), 3))


@pytest.mark.parametrize("with_cache", [False, True])
def test_batches_are_the_same_from_afar(remote: Remote, tmp_path: Path, with_cache: bool):
    cache = CacheConfig(dir=str(tmp_path / "cache")) if with_cache else None
    near = batches(open_dataset(remote.folder), ReadingConfig())
    for here, there in zip(near, batches(open_dataset(remote), ReadingConfig(cache=cache)), strict=True):
        assert here.keys == there.keys
        assert here.video_BTHWC.equal(there.video_BTHWC)
    assert remote.reads.total() == (4 if with_cache else 12)  # shards, or members


def test_the_parts_of_a_mixture_share_a_cache(remote: Remote, tmp_path: Path):
    cache = CachedStore(remote, CacheConfig(dir=str(tmp_path / "cache")))
    mixture = MixedDataset([open_dataset(remote), open_dataset(remote.folder)]).through(
        lambda store: cache if store is remote else store
    )
    assert not mixture.is_local
    assert mixture.read_member(1, "mp4") == mixture.read_member(13, "mp4")
    assert remote.reads.total() == 1


def test_a_batch_waits_for_its_reads_together(remote: Remote):
    remote.delay_s = 0.2
    reads = ReadAhead(open_dataset(remote), num_threads=4)
    before_s = time.monotonic()
    reads.start(range(4), ["mp4"])
    found = [reads.read(sample_id, "mp4") for sample_id in range(4)]
    assert time.monotonic() - before_s < 0.6  # one after another: 0.8
    assert found == [open_dataset(remote.folder).read_member(sample_id, "mp4") for sample_id in range(4)]
