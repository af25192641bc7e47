"""Streaming over webdataset: every sample of the split once per epoch, for any number of workers."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shards.plans.plan import sample_generator
from shards.plans.view import ViewConfig
from shards.reading.config import CacheConfig, ReadingConfig
from shards.reading.decode import decode_clip
from shards.reading.reader import ShardDataset, open_dataset
from shards.schema import strings
from shards.versions.manifest import Manifest
from tests.shards.storage.remote import Remote

pytest.importorskip("webdataset")
VIEW = ViewConfig(num_frames=4, fps=4, height=12, width=16)


@pytest.fixture
def dataset(tmp_path: Path, dataset_of: Callable[..., Manifest]) -> ShardDataset:
    """9 samples in 3 shards, some of them for validation."""
    dataset_of(9, per_shard=3, val=0.4)
    return open_dataset(tmp_path / "dataset")


def streamed(dataset: ShardDataset, **options: Any) -> list[dict[str, Any]]:
    from shards.reading.streaming import stream

    return list(stream(dataset, VIEW, **options))


def keys(dataset: ShardDataset, split: str | None) -> list[str]:
    return sorted(strings(dataset.table(split), "key"))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_epoch_has_every_sample_of_the_split_once(dataset: ShardDataset, num_workers: int):
    samples = streamed(dataset, num_workers=num_workers)
    assert sorted(sample["key"] for sample in samples) == keys(dataset, "train")
    assert 0 < len(samples) < 9
    for sample in samples:
        row = dataset.row(sample["id"])
        mp4 = dataset.read_member(sample["id"], "mp4")
        wanted_THWC = decode_clip(mp4, row, VIEW, sample_generator(0, 0, sample["id"]))
        np.testing.assert_array_equal(sample["video_THWC"], wanted_THWC)
        assert sample["caption"] == row["caption"]


def test_ranks_share_the_shards(dataset: ShardDataset):
    parts = [{sample["key"] for sample in streamed(dataset, split=None, rank=rank, world=2)} for rank in (0, 1)]
    assert parts[0] | parts[1] == set(keys(dataset, None))
    assert parts[0] & parts[1] == set()


def test_the_order_is_of_seed_and_epoch(dataset: ShardDataset):
    orders = [
        [sample["key"] for sample in streamed(dataset, split=None, **options)]
        for options in ({}, {}, {"epoch": 1}, {"seed": 5})
    ]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]
    assert orders[0] != orders[3]
    in_order = [sample["id"] for sample in streamed(dataset, split=None, buffer=1)]
    assert all(in_order[first + 1] == in_order[first] + 1 for first in (0, 1, 3, 4, 6, 7))  # within shards of three


def test_remote_shards_stream_too(dataset: ShardDataset, tmp_path: Path):
    remote = open_dataset(Remote(tmp_path / "dataset"))
    near = [sample["key"] for sample in streamed(dataset)]
    cache = ReadingConfig(cache=CacheConfig(dir=str(tmp_path / "cache")))
    assert [sample["key"] for sample in streamed(remote)] == near
    assert [sample["key"] for sample in streamed(remote, reading=cache)] == near


def test_clips_that_the_view_does_not_fit_are_left_out(dataset: ShardDataset):
    from shards.reading.streaming import stream

    assert list(stream(dataset, VIEW.model_copy(update={"num_frames": 99}))) == []


def test_an_import_from_before_is_secured_too(dataset: ShardDataset, monkeypatch: pytest.MonkeyPatch):
    gopen, utils = (importlib.import_module(f"webdataset.{name}") for name in ("gopen", "utils"))
    monkeypatch.setattr(utils, "enforce_security", False)
    streamed(dataset)
    with pytest.raises(ValueError, match="cannot open pipe URLs"):
        gopen.gopen("pipe:echo hello")
