"""Anyone opens the shards: the programs and libraries that people have."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shards.format.commit import Commit
from shards.reading.reader import open_dataset
from shards.versions.export import HUB_SPLITS, export
from shards.versions.manifest import Manifest
from shards.versions.publish import publish
from shards.versions.splits import SplitConfig

REPOSITORY = Path(__file__).parents[3]
DIGEST = """
import hashlib, json, sys

def facts(sample):
    caption = sample["txt"].decode() if isinstance(sample["txt"], bytes) else sample["txt"]
    row = json.loads(sample["json"]) if isinstance(sample["json"], bytes) else sample["json"]
    return [row["num_frames"], hashlib.sha256(sample["mp4"]).hexdigest(), caption]
"""
READ_WITH_WEBDATASET = """
import webdataset
dataset = webdataset.WebDataset(sys.argv[1:], shardshuffle=False).decode()
print(json.dumps({sample["__key__"]: facts(sample) for sample in dataset}))
"""
READ_WITH_RAY = """
import ray
ray.init(num_cpus=1, include_dashboard=False, logging_level="error", log_to_driver=False)
rows = ray.data.read_webdataset(sys.argv[1:], override_num_blocks=1).iter_rows()
print(json.dumps({row["__key__"]: facts(row) for row in rows}))
"""
READ_WITH_DATASETS = """
from datasets import load_dataset
files = json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
found = {}
for split, rows in load_dataset(sys.argv[1], streaming=True, **files).items():
    found |= {row["__key__"]: [split, *facts({**row, "mp4": row["mp4"]["bytes"]})] for row in rows.decode(False)}
print(json.dumps(found))
"""
READ_WITH_ENERGON = """
from megatron.energon import Cooker, DefaultTaskEncoder, WorkerConfig, get_loader, get_train_dataset, stateless

@stateless
def cook(sample):
    return {**sample, "facts": [sample["__key__"], *facts(sample)]}

class Encoder(DefaultTaskEncoder):
    cookers = [Cooker(cook)]
    decoder = None

    def batch(self, samples):
        return [sample["facts"] for sample in samples]

dataset = get_train_dataset(
    sys.argv[1], worker_config=WorkerConfig(rank=0, world_size=1, num_workers=0), batch_size=1, task_encoder=Encoder(),
    shuffle_buffer_size=None, max_samples_per_sequence=None, shuffle_over_epochs_multiplier=None, repeat=False,
    parallel_shard_iters=1,
)
print(json.dumps({key: values for batch in get_loader(dataset) for key, *values in batch}))
"""


@pytest.fixture
def root(tmp_path: Path, dataset_of: Callable[..., Manifest]) -> Path:
    dataset_of(7, per_shard=3)
    return tmp_path / "dataset"


def test_tar_lists_every_member(root: Path):
    listed = []
    for tar in sorted(root.rglob("*.tar")):
        listed += subprocess.run(["tar", "-tf", tar], capture_output=True, text=True, check=True).stdout.split()
    assert listed == [f"clip-{n:03d}.{suffix}" for n in range(7) for suffix in ("json", "mp4", "txt")]


def test_sha256sum_agrees_with_the_manifest(root: Path):
    manifest = open_dataset(root).manifest
    lines = [f"{file.sha256}  {file.path}" for shard in manifest.shards for file in (shard.shard, shard.index)]
    check = subprocess.run(["sha256sum", "--check", "--strict", "-"], input="\n".join(lines), text=True, cwd=root)
    assert check.returncode == 0


def test_webdataset_reads_the_same_samples(root: Path):
    pytest.importorskip("webdataset")
    assert printed(READ_WITH_WEBDATASET, *tars(root)) == expected(root)


@pytest.mark.ray
def test_ray_reads_the_same_samples(root: Path):
    pytest.importorskip("webdataset")  # Ray's reader wants it
    assert printed(READ_WITH_RAY, *tars(root)) == expected(root)


@pytest.mark.slow
def test_hugging_face_datasets_reads_the_same_samples_by_split(tmp_path: Path, commit_clips: Callable[..., Commit]):
    python = reader("datasets")
    commits = [commit_clips(0, ["a", "b", "c"], caption=None), commit_clips(1, [f"clip-{n}" for n in range(9)])]
    publish(tmp_path / "dataset", commits, {}, SplitConfig(val=0.3, test=0.3))
    export(tmp_path / "dataset", tmp_path / "out", tmp_path)
    side_of = {row["key"]: row["split"] for row in open_dataset(tmp_path / "dataset").rows.to_pylist()}
    wanted = {
        key: [HUB_SPLITS[side_of[key]], frames, sha256, caption or ""]
        for key, (frames, sha256, caption) in expected(tmp_path / "dataset").items()
    }
    found = printed(READ_WITH_DATASETS, str(tmp_path / "out"), python=python, HF_HOME=str(tmp_path), HF_HUB_OFFLINE="1")
    assert found == wanted
    files = {split: f"{tmp_path}/out/shards/{side}/*.tar" for side, split in HUB_SPLITS.items()}
    by_name = ("webdataset", json.dumps({"data_files": files}))
    assert printed(READ_WITH_DATASETS, *by_name, python=python, HF_HOME=str(tmp_path), HF_HUB_OFFLINE="1") == wanted
    assert {split for split, *_ in found.values()} == {"train", "validation", "test"}


@pytest.mark.slow
def test_energon_prepares_and_reads_the_same_samples(root: Path):
    python = reader("energon")
    prepare = [python, "-m", "megatron.energon.cli.main", "prepare", "--non-interactive", "--split-ratio", "1,0,0"]
    options = ["--sample-type", "CrudeWebdataset", "--num-workers", "1", str(root)]
    done = subprocess.run([*prepare, *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert printed(READ_WITH_ENERGON, str(root), python=python) == expected(root)


def tars(root: Path) -> list[str]:
    return [str(tar) for tar in sorted(root.rglob("*.tar"))]


def expected(root: Path) -> dict[str, list[Any]]:
    """By key: number of frames, checksum of the clip, caption."""
    dataset = open_dataset(root)
    return {
        row["key"]: [24, hashlib.sha256(dataset.read_member(row["id"], "mp4")).hexdigest(), row["caption"]]
        for row in dataset.rows.select(["id", "key", "caption"]).to_pylist()
    }


def printed(code: str, *arguments: str, python: str = sys.executable, **environment: str) -> dict[str, list[Any]]:
    """The JSON that a program of its own prints in the last line."""
    done = subprocess.run(
        [python, "-c", DIGEST + code, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "WDS_SECURE": "1", **environment},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def reader(name: str) -> str:
    """The Python of a reader that has an environment of its own."""
    python = Path(os.environ.get("REELMILL_READERS", REPOSITORY / ".readers")) / name / "bin/python"
    if not python.exists():
        pytest.skip(f"{python} is not there; `make readers` installs {name} in an environment of its own")
    return str(python)
