import numpy as np
import pytest

from shards.plans.buckets import Bucket
from shards.plans.locality import locality
from shards.plans.plan import BatchPlan, PlanConfig

BOUNDS = np.arange(0, 1001, 10)  # 100 shards of 10 samples
SIZES = np.full(100, 7)


def make_plan(shuffle: str, batch: int = 20, **config: object) -> BatchPlan:
    settings = PlanConfig.model_validate({"global_batch": batch, "shuffle": shuffle, **config})
    bucket = Bucket("view", np.arange(1000, dtype=np.uint32), batch, 1000 // batch, bounds_S1=BOUNDS)
    return BatchPlan([bucket], settings)


def test_without_shuffling_a_batch_lies_in_as_few_shards_as_can_be():
    found = locality(make_plan("none"), BOUNDS, SIZES)
    assert (found.shards_per_batch, found.open_shards, found.open_bytes) == (2, 2, 14)


def test_a_full_shuffle_needs_every_shard_and_mixes_as_chance_does():
    found = locality(make_plan("full"), BOUNDS, SIZES)
    assert (found.mixing, found.open_shards, found.open_bytes) == (1, 100, 700)
    # 20 of 1000 samples: a shard of ten is missed with a chance of about 0.98 ** 10, so 18.3 of 100 are there.
    assert found.shards_per_batch == pytest.approx(18.3, abs=0.5)


def test_blocks_mix_and_need_their_shards():
    found = locality(make_plan("blocks", block_shards=20), BOUNDS, SIZES)
    assert (found.open_shards, found.open_bytes) == (20, 140)  # 200 samples a block: batches end with it
    assert found.shards_per_batch == pytest.approx(20 * (1 - 0.9**10), abs=0.5)  # 13.0
    assert 0.65 < found.mixing < 0.76


def test_a_batch_over_the_end_of_a_block_needs_both():
    assert locality(make_plan("blocks", batch=15, block_shards=4), BOUNDS, SIZES).open_shards == 8
