"""Stored latents and text embeddings as batches: bucketed by shape, exact, elastic, beside clips or without any."""

from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from shards.errors import ConfigError
from shards.format.commit import commit_shard
from shards.format.npy import npy_bytes
from shards.plans.plan import PlanConfig
from shards.plans.view import ViewConfig
from shards.reading.batch import Batch, loader
from shards.reading.plan_view import plan_listings
from shards.reading.reader import ShardDataset, open_dataset
from shards.versions.publish import publish
from shards.versions.splits import SplitConfig
from tests.shards.conftest import PLAN_ID, rows_table

LATENT, TEXT = "latent.npy", "text.npy"
SHAPES = {number: (4, 2, 3, 3) if number % 3 else (4, 1, 6, 6) for number in range(12)}
PLAN = PlanConfig(bucket_by="arrays", global_batch=2, seed=1)


def latent(number: int) -> np.ndarray:
    return np.full(SHAPES[number], number, np.float16)


@pytest.fixture
def dataset(tmp_path: Path, mp4: bytes, row_of: Callable[..., dict[str, Any]]) -> ShardDataset:
    """Twelve samples with clip, latent and text embedding, four to a shard; every third latent is a single frame."""
    commits = []
    for shard in range(3):
        numbers = range(4 * shard, 4 * shard + 4)
        rows = rows_table([row_of(f"k{number:02d}", mp4) for number in numbers])
        members = [
            {"mp4": mp4, LATENT: npy_bytes(latent(n)), TEXT: npy_bytes(np.full((5, 7), -n, np.float32))}
            for n in numbers
        ]
        commits.append(commit_shard(tmp_path / "dataset", PLAN_ID, shard, "toy", rows, members, tmp_path))
    publish(tmp_path / "dataset", commits, {}, SplitConfig(val=0))
    return open_dataset(tmp_path / "dataset")


def take(dataset: ShardDataset, count: int, **options: Any) -> list[Batch]:
    return list(islice(loader(dataset, dataset.plan(PLAN), None, members=[LATENT, TEXT], **options), count))


def test_a_batch_has_latents_of_one_shape_and_embeddings_as_they_are_stored(dataset: ShardDataset):
    plan = dataset.plan(PLAN)
    assert plan.num_batches == {"f2-4x1x6x6_f4-5x7": 2, "f2-4x2x3x3_f4-5x7": 4}
    epoch = take(dataset, plan.steps_per_epoch)
    assert Counter(tuple(batch.tensors[LATENT].shape) for batch in epoch) == {(2, 4, 1, 6, 6): 2, (2, 4, 2, 3, 3): 4}
    assert sorted(number for batch in epoch for number in batch.ids.tolist()) == list(range(12))
    for batch in epoch:
        assert (batch.tensors[LATENT].dtype, batch.tensors[TEXT].dtype) == (torch.float16, torch.float32)
        assert batch.bucket == ("f2-4x1x6x6_f4-5x7" if batch.ids[0] % 3 == 0 else "f2-4x2x3x3_f4-5x7")
        for place, number in enumerate(batch.ids.tolist()):
            assert torch.equal(batch.tensors[LATENT][place], torch.from_numpy(latent(number)))
            assert batch.tensors[TEXT][place].tolist() == [[-number] * 7] * 5
            assert batch.captions[place] == f"caption of k{number:02d}"
        with pytest.raises(ConfigError, match="mp4 was not asked for"):
            batch.video_BTHWC  # noqa: B018


def test_ranks_share_the_batches_and_a_position_resumes_them(dataset: ShardDataset):
    whole = take(dataset, 8)
    parts = [take(dataset, 8, rank=rank, world=2) for rank in (0, 1)]
    for step, batch in enumerate(whole):
        for rank in (0, 1):
            assert torch.equal(parts[rank][step].tensors[LATENT], batch.tensors[LATENT][rank::2])
    again = take(dataset, 5, state=parts[1][2].position)
    assert [batch.keys for batch in again] == [batch.keys for batch in whole[3:]]


def test_arrays_come_beside_clips(dataset: ShardDataset):
    view = ViewConfig(num_frames=4, fps=4, height=12, width=16)
    plan = dataset.plan(PlanConfig(global_batch=3), view)
    batch = next(loader(dataset, plan, view, members=["mp4", TEXT]))
    assert batch.video_BTHWC.shape == (3, 4, 12, 16, 3)
    assert batch.tensors[TEXT][:, 0, 0].tolist() == [-number for number in batch.ids.tolist()]


def test_what_cannot_be_a_batch_is_refused_with_the_knob(dataset: ShardDataset, tmp_path: Path):
    mixed = dataset.plan(PlanConfig(global_batch=12))
    with pytest.raises(ConfigError, match=r"\.latent\.npy of 2 shapes .* set plan\.bucket_by to arrays"):
        next(loader(dataset, mixed, None, members=[LATENT]))
    with pytest.raises(ConfigError, match=r"members are \['txt'\]; some of mp4, latent\.npy, text\.npy are allowed"):
        loader(dataset, mixed, None, members=["txt"])
    with pytest.raises(ConfigError, match="decoding needs a view"):
        loader(dataset, mixed, None)
    with pytest.raises(ConfigError, match=r"images is 0\.5 and plan.bucket_by is arrays"):
        dataset.plan(PLAN.model_copy(update={"images": 0.5}))


def test_a_plan_of_arrays_is_shown(dataset: ShardDataset):
    buckets, epoch = plan_listings(dataset.store.uri, None, ["plan.bucket_by=arrays", "plan.global_batch=2"])
    assert [row[:5] for row in buckets.rows] == [
        ["f2-4x1x6x6_f4-5x7", "4", "2", "", "2"],
        ["f2-4x2x3x3_f4-5x7", "8", "2", "", "4"],
    ]
    assert dict(epoch.rows)["steps per epoch"] == "6"


def test_a_dataset_without_arrays_says_so(tmp_path: Path, dataset_of: Callable[..., Any]):
    dataset_of(2)
    with pytest.raises(ConfigError, match=r"bucket_by is arrays; samples have json, mp4, txt, no array"):
        open_dataset(tmp_path / "dataset").plan(PLAN)
