import pickle
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from obstore.store import MemoryStore

from shards.errors import ConfigError, ContractError
from shards.plans.plan import PlanConfig
from shards.plans.view import ViewConfig
from shards.reading.reader import open_dataset
from shards.storage.store import ObjectStore
from shards.versions.manifest import Manifest


@pytest.fixture
def root(tmp_path: Path, dataset_of: Callable[..., Manifest]) -> Path:
    dataset_of(9, per_shard=4)
    return tmp_path / "dataset"


def test_members_are_those_that_tarfile_finds(root: Path):
    dataset = open_dataset(root)
    for row in dataset.rows.select(["id", "key", "shard"]).to_pylist():
        with tarfile.open(root / row["shard"]) as tar:
            for suffix, data in dataset.read(row["id"]).items():
                member = tar.extractfile(f"{row['key']}.{suffix}")
                assert member is not None
                assert member.read() == data


def test_ids_are_row_numbers_in_order_of_shard_and_tar(root: Path):
    dataset = open_dataset(root)
    assert len(dataset) == 9
    assert dataset.rows.column("id").to_pylist() == list(range(9))
    assert dataset.rows.column("key").to_pylist() == [f"clip-{number:03d}" for number in range(9)]
    assert dataset.find("clip-005") == 5


def test_a_split_is_a_part_of_the_table(tmp_path: Path, dataset_of: Callable[..., Manifest]):
    manifest = dataset_of(9, val=0.5)
    dataset = open_dataset(tmp_path / "dataset")
    sizes = {split: len(dataset.table(split)) for split in ("train", "val", "test")}
    assert sizes == {name: stats.num_samples for name, stats in manifest.splits.items()}
    assert sum(sizes.values()) == len(dataset.table())


def test_an_opened_dataset_travels_to_another_process(root: Path):
    dataset = open_dataset(root)
    again = pickle.loads(pickle.dumps(dataset))
    assert again.manifest_sha256 == dataset.manifest_sha256
    assert again.read(3) == dataset.read(3)


def test_a_pinned_manifest_is_checked(root: Path):
    sha256 = open_dataset(root).manifest_sha256
    open_dataset(root, 1, sha256)
    with pytest.raises(ContractError, match="is pinned"):
        open_dataset(root, 1, "0" * 64)


def test_a_dataset_reads_the_same_from_an_object_store(root: Path):
    store = ObjectStore(MemoryStore(), "memory:///")
    for file in filter(Path.is_file, root.rglob("*")):
        store.create(file.relative_to(root).as_posix(), file)
    here, there = open_dataset(root), open_dataset(store)
    assert there.rows.equals(here.rows)
    assert there.read(7) == here.read(7)


def test_a_truncated_shard_is_noticed_by_the_read_that_needs_the_rest(root: Path):
    dataset = open_dataset(root)
    tar = root / dataset.manifest.shards[0].shard.path
    data = tar.read_bytes()
    tar.unlink()
    tar.write_bytes(data[: dataset.rows.column("mp4_offset")[2].as_py() + 10])
    dataset.read_member(1, "mp4")
    with pytest.raises(ContractError, match=r"has 10 bytes at .*sample 2, \.mp4.* damaged"):
        dataset.read_member(2, "mp4")


def test_a_changed_plan_index_is_refused(root: Path):
    path = root / open_dataset(root).manifest.plan_index.path
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink()
    path.write_bytes(data)
    with pytest.raises(ContractError, match="is not what the manifest names"):
        open_dataset(root)
    path.unlink()
    with pytest.raises(ContractError, match="is missing"):
        open_dataset(root)


def test_an_unknown_key_or_column_is_named(root: Path):
    dataset = open_dataset(root)
    with pytest.raises(ConfigError, match="key is 'nobody'"):
        dataset.find("nobody")
    with pytest.raises(ConfigError, match="score column is 'motoin'; motion is known"):
        dataset.scores("motoin")
    with pytest.raises(ConfigError, match="score column is 'caption', which has string"):
        dataset.plan(PlanConfig(global_batch=1), ViewConfig(score_columns=("caption",)))


def test_scores_are_those_of_all_samples_or_of_the_asked(root: Path):
    dataset = open_dataset(root)
    assert dataset.scores("motion").tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0]
    assert dataset.scores("motion", np.array([7, 1])).tolist() == [3, 1]


def test_all_but_batch_and_decode_do_without_torch_and_codecs():
    code = (
        "import sys; from shards.storage import store; from shards.format import commit, index, tar, writer; "
        "from shards.versions import card, cli_views, manifest, publish, splits, verify; "
        "from shards.plans import plan, view; from shards.reading import reader; "
        "print({'torch', 'av', 'cv2', 'ray'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
