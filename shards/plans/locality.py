"""How a plan goes over the shards: how well its batches mix them, and how many must be open for that."""

from dataclasses import dataclass, replace

import numpy as np

from shards.plans.buckets import Bucket
from shards.plans.permutation import BlockOrder
from shards.plans.plan import BatchPlan, draw_offset

_STEPS_LOOKED_AT = 64


@dataclass(frozen=True)
class Locality:
    """Of an epoch.

    Attributes:
        shards_per_batch: different shards in a batch, mean over the steps looked at.
        shards_per_batch_full: the same if samples were shuffled over all shards.
        open_shards: most shards that are needed again by a later batch or by this one, at any step.
        open_bytes: most bytes of such shards.
    """

    shards_per_batch: float
    shards_per_batch_full: float
    open_shards: int
    open_bytes: int

    @property
    def mixing(self) -> float:
        """1 if batches are as mixed as by a full shuffle, less if they come from fewer shards."""
        return self.shards_per_batch / self.shards_per_batch_full


def locality(plan: BatchPlan, bounds_S1: np.ndarray, size_bytes_S: np.ndarray) -> Locality:
    """How an epoch of a plan goes over the shards (S).

    Args:
        plan: of one or several datasets.
        bounds_S1: their `shard_bounds`.
        size_bytes_S: of each shard.
    """
    full = BatchPlan(list(plan.buckets.values()), plan.config.model_copy(update={"shuffle": "full"}))
    needs = [_open_at_once(plan, bucket, bounds_S1, size_bytes_S) for bucket in plan.buckets.values()]
    return Locality(
        _shards_per_batch(plan, bounds_S1),
        _shards_per_batch(full, bounds_S1),
        sum(num_shards for num_shards, _ in needs),
        sum(num_bytes for _, num_bytes in needs),
    )


def _shards_per_batch(plan: BatchPlan, bounds_S1: np.ndarray) -> float:
    steps = np.unique(np.linspace(0, plan.steps_per_epoch - 1, _STEPS_LOOKED_AT).astype(int)).tolist()
    shards = [np.searchsorted(bounds_S1, plan.batch(0, step).ids_B, side="right") for step in steps]
    return float(np.mean([len(np.unique(shards_B)) for shards_B in shards]))


def _open_at_once(plan: BatchPlan, bucket: Bucket, bounds_S1: np.ndarray, size_bytes_S: np.ndarray) -> tuple[int, int]:
    """Most shards, and most bytes of shards, of the blocks that one batch of a bucket touches."""
    if not bucket.num_batches:
        return 0, 0
    within = replace(bucket, bounds_S1=np.searchsorted(bucket.ids_N, bounds_S1.astype(bucket.ids_N.dtype)))
    items_S1 = within.item_bounds(draw_offset(plan.config, 0, bucket))
    held = np.flatnonzero(np.diff(items_S1))
    block_bounds, blocks = np.array([0, bucket.num_items]), [held]
    if plan.config.shuffle == "none":
        block_bounds, blocks = np.append(items_S1[held], bucket.num_items), [held[n : n + 1] for n in range(len(held))]
    elif plan.config.shuffle == "blocks":
        order = BlockOrder(items_S1, plan.config.block_shards, "order", plan.config.seed, 0, bucket.name)
        block_bounds, blocks = order.bounds_K1, order.groups_K
    starts = np.arange(bucket.num_batches) * bucket.batch_size
    ends = np.minimum(starts + bucket.batch_size, bucket.num_items) - 1
    first, last = (np.searchsorted(block_bounds, places, side="right") - 1 for places in (starts, ends))
    shards, sizes = (
        np.append(0, np.cumsum([values[block].sum() for block in blocks]))
        for values in (np.ones(len(size_bytes_S), np.int64), size_bytes_S)
    )
    return int((shards[last + 1] - shards[first]).max()), int((sizes[last + 1] - sizes[first]).max())
