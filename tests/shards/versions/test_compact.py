import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from shards.errors import ConfigError, ContractError
from shards.format.commit import Commit, commit_shard
from shards.format.index import ROW
from shards.format.npy import npy_bytes
from shards.reading.reader import open_dataset
from shards.storage.store import LocalFolder
from shards.versions.compact import compact, partly_published
from shards.versions.diff import diff
from shards.versions.export import export
from shards.versions.manifest import read_manifest
from shards.versions.publish import publish
from shards.versions.splits import SplitConfig
from shards.versions.verify import verify
from shards.versions.withdraw import withdraw

CommitClips = Callable[..., Commit]


@pytest.fixture
def dataset(tmp_path: Path, commit_clips: CommitClips) -> LocalFolder:
    """Three shards: a, b, c; d, e; f, g. Without b, d and e."""
    commits = [commit_clips(number, list(keys)) for number, keys in enumerate(["abc", "de", "fg"])]
    publish(tmp_path / "dataset", commits, {}, SplitConfig(val=0.4), keep_keys=set("abcefg"))
    store = LocalFolder(tmp_path / "dataset")
    withdraw(store, keys=["b", "e"], reason="asked to")
    return store


def test_shards_with_unpublished_samples_are_known(dataset: LocalFolder):
    paths = [commit.shard.path for commit in read_manifest(dataset).shards]
    assert partly_published(dataset, read_manifest(dataset)) == {paths[0]: 2, paths[1]: 0}


def test_compaction_rewrites_only_those_and_publishes_the_same_samples(dataset: LocalFolder, tmp_path: Path):
    before = read_manifest(dataset)
    after = compact(dataset, tmp_path)
    assert diff(dataset).same_samples  # keys, checksums of all members, splits
    assert [(commit.bucket, commit.num_samples) for commit in after.shards] == [("toy", 2), ("toy", 2)]
    assert before.shards[2] in after.shards
    assert before.shards[0] not in after.shards
    assert after.withdrawn == before.withdrawn
    for commit in after.shards:
        tar = dataset.get(commit.shard.path)
        assert b"caption of b" not in tar
        assert b"caption of e" not in tar
    assert b"caption of a" in open_dataset(dataset).read(open_dataset(dataset).find("a"))["json"]
    assert verify(dataset, frames=True) == []


def test_compacting_again_or_elsewhere_gives_the_same(dataset: LocalFolder, tmp_path: Path):
    copy = tmp_path / "copy"
    shutil.copytree(dataset.root, copy)
    first = compact(dataset, tmp_path)
    assert compact(dataset, tmp_path) == first
    assert compact(copy, tmp_path) == first


def test_a_damaged_shard_is_not_compacted(dataset: LocalFolder, tmp_path: Path):
    path = dataset.local_path(read_manifest(dataset).shards[0].shard.path)
    data = path.read_bytes()
    place = data.index(b"mdat") + 50
    path.unlink()
    path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    with pytest.raises(ContractError, match="has not the a of its index; restore the shard"):
        compact(dataset, tmp_path)
    with pytest.raises(ConfigError, match="no published version"):
        compact(tmp_path / "nothing", tmp_path)


def test_latents_are_kept_by_compaction_and_export(
    tmp_path: Path, row_of: Callable[..., dict[str, object]], mp4: bytes
):
    latents = [npy_bytes(np.full((4, 2, 3, 3), number, np.float16)) for number in range(3)]
    rows = pa.Table.from_pylist([row_of(key, mp4) for key in "abc"], schema=ROW)
    members = [{"latent.npy": latent} for latent in latents]
    root = tmp_path / "latents"
    publish(root, [commit_shard(root, "ab" * 32, 0, "toy", rows, members, tmp_path)], {}, SplitConfig(val=0))
    withdraw(root, keys=["b"], reason="asked to")
    compact(root, tmp_path)
    assert diff(root).same_samples
    export(root, tmp_path / "out", tmp_path)
    for folder in (root, tmp_path / "out"):
        assert verify(folder) == []
        dataset = open_dataset(folder)
        assert dataset.members == ("json", "latent.npy", "txt")
        assert [dataset.read(dataset.find(key))["latent.npy"] for key in "ac"] == [latents[0], latents[2]]
    assert "`<key>.latent.npy`" in (tmp_path / "out/README.md").read_text()
