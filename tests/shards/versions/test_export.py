import glob
import tarfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
import yaml

from shards.errors import ConfigError
from shards.format.commit import Commit, commit_shard
from shards.format.index import ROW, read_index
from shards.reading.reader import open_dataset
from shards.schema import strings
from shards.storage.store import LocalFolder
from shards.versions.export import export
from shards.versions.publish import publish
from shards.versions.splits import SplitConfig
from shards.versions.verify import verify
from shards.versions.withdraw import withdraw

CommitClips = Callable[..., Commit]


@pytest.fixture
def dataset(tmp_path: Path, commit_clips: CommitClips) -> LocalFolder:
    """12 samples of 12 sources, two shards; one is withdrawn; val, test and train have some of the rest."""
    commits = [commit_clips(shard, [f"clip-{shard}-{number}" for number in range(6)]) for shard in range(2)]
    publish(tmp_path / "dataset", commits, {"seed": 7}, SplitConfig(val=0.3, test=0.3))
    withdraw(tmp_path / "dataset", keys=["clip-0-3"], reason="asked to")
    return LocalFolder(tmp_path / "dataset")


def test_tars_of_an_export_hold_one_split_and_only_what_is_published(dataset: LocalFolder, tmp_path: Path):
    export(dataset, tmp_path / "out", tmp_path)
    rows = open_dataset(dataset).rows.select(["key", "split"]).to_pylist()
    wanted = {split: {row["key"] for row in rows if row["split"] == split} for split in ("train", "val", "test")}
    assert min(map(len, wanted.values())) > 0
    front = yaml.safe_load((tmp_path / "out/README.md").read_text().split("---\n")[1])
    files = front["configs"][0]["data_files"]
    assert [item["split"] for item in files] == ["train", "validation", "test"]
    for item, split in zip(files, wanted, strict=True):
        names: list[str] = []
        for tar in glob.glob(str(tmp_path / "out" / item["path"])):
            with tarfile.open(tar) as opened:
                names += opened.getnames()
        assert {name.partition(".")[0] for name in names} == wanted[split]


def test_an_export_is_a_dataset_of_its_own(dataset: LocalFolder, tmp_path: Path):
    manifest = export(dataset, tmp_path / "out", tmp_path)
    source, exported = open_dataset(dataset), open_dataset(tmp_path / "out")
    assert verify(tmp_path / "out", frames=True) == []
    assert (manifest.version, manifest.config, manifest.stats.num_samples) == (2, {"seed": 7}, 11)
    assert manifest.parent is not None
    assert (manifest.parent.version, manifest.parent.sha256) == (2, source.manifest_sha256)
    assert manifest.withdrawn == source.manifest.withdrawn
    for key in strings(source.rows, "key"):
        assert exported.read(exported.find(key)) == source.read(source.find(key))


def test_exporting_again_changes_nothing_and_gives_the_same_elsewhere(dataset: LocalFolder, tmp_path: Path):
    first = export(dataset, tmp_path / "out", tmp_path)
    assert export(dataset, tmp_path / "out", tmp_path) == first
    assert export(dataset, tmp_path / "elsewhere", tmp_path) == first
    assert [item.path for item in LocalFolder(tmp_path / "out").list()] == [
        item.path for item in LocalFolder(tmp_path / "elsewhere").list()
    ]


def test_tars_are_closed_before_they_grow_too_large(dataset: LocalFolder, tmp_path: Path):
    sample_bytes = sum(len(data) for data in open_dataset(dataset).read(0).values())
    manifest = export(dataset, tmp_path / "out", tmp_path, shard_bytes=int(2.5 * sample_bytes))
    assert max(commit.num_samples for commit in manifest.shards) == 2
    assert sum(commit.num_samples for commit in manifest.shards) == 11
    assert verify(tmp_path / "out") == []


def test_versions_are_not_mixed(dataset: LocalFolder, tmp_path: Path):
    export(dataset, tmp_path / "out", tmp_path, version=1)
    with pytest.raises(ConfigError, match=r"has versions \[1\]; an empty folder, or an earlier attempt at version 2"):
        export(dataset, tmp_path / "out", tmp_path)
    with pytest.raises(ConfigError, match="name another folder"):
        export(dataset, dataset, tmp_path)


def test_columns_that_the_plan_index_leaves_out_stay_in_the_shards_index(
    tmp_path: Path, row_of: Callable[..., dict[str, object]], mp4: bytes
):
    rows = pa.Table.from_pylist([row_of("vector", mp4)], schema=ROW)
    rows = rows.append_column("embedding", pa.array([[0.5, -1.0]], pa.list_(pa.float32())))
    commit = commit_shard(tmp_path / "vectors", "cd" * 32, 0, "toy", rows, [{"mp4": mp4}], tmp_path)
    publish(tmp_path / "vectors", [commit], {}, SplitConfig())
    manifest = export(tmp_path / "vectors", tmp_path / "out", tmp_path)
    index = read_index((tmp_path / "out" / manifest.shards[0].index.path).read_bytes())
    assert index.column("embedding").to_pylist() == [[0.5, -1.0]]
