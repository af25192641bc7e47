"""Anyone opens the shards: the programs and libraries that people have."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from shards.manifest import Manifest
from shards.reader import open_dataset

READ_WITH_WEBDATASET = """
import hashlib, json, sys
import webdataset
found = {}
for sample in webdataset.WebDataset(sys.argv[1:], shardshuffle=False).decode():
    found[sample["__key__"]] = [sample["json"]["num_frames"], hashlib.sha256(sample["mp4"]).hexdigest(), sample["txt"]]
print(json.dumps(found))
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
    shards = [str(tar) for tar in sorted(root.rglob("*.tar"))]
    code = subprocess.run(
        [sys.executable, "-c", READ_WITH_WEBDATASET, *shards],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "WDS_SECURE": "1"},
    )
    dataset = open_dataset(root)
    ours = {
        row["key"]: [24, hashlib.sha256(dataset.read_member(row["id"], "mp4")).hexdigest(), row["caption"]]
        for row in dataset.rows.select(["id", "key", "caption"]).to_pylist()
    }
    assert json.loads(code.stdout) == ours
