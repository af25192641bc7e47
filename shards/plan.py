"""The order of reading, computed and not discovered: a pure function of (samples, plan, epoch, step).

Per epoch and bucket the samples are permuted and cut into global batches, then the batches are permuted. Rank r takes
`batch[r::world]`, so every rank takes the same number of steps and any world size sees the same global batches.
Permutations sort raw 64-bit words of Philox4x64-10, whose stream is fixed for good; another language can repeat them.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from shards.config import Config
from shards.errors import ConfigError
from shards.ids import digest


class PlanConfig(Config):
    """Which samples are read, and in which batches."""

    split: Literal["train", "val", "test", "all"] = Field(
        default="train", description="Split of the version, or all of them."
    )
    global_batch: int = Field(default=64, gt=0, description="Samples per step over all ranks.")
    seed: int = Field(default=0, description="Another seed is another order.")
    tail: Literal["drop", "pad"] = Field(
        default="drop",
        description="The last batch of a bucket: dropped (its samples rest for this epoch), or padded with samples of "
        "the same bucket that are marked as padding.",
    )
    shuffle: bool = Field(default=True, description="False: samples in order of id, batches in order of bucket.")
    require_caption: bool = Field(default=True, description="Leave out samples without a caption.")
    min_num_frames: int = Field(default=1, gt=0, description="Leave out clips with fewer frames.")


@dataclass(frozen=True)
class GlobalBatch:
    """The samples of one step over all ranks (B = global batch).

    Attributes:
        bucket: all its samples are of this bucket.
        ids_B: int64.
        is_pad_B: bool; a padding sample has been in an earlier batch of this epoch or bucket.
    """

    bucket: str
    ids_B: np.ndarray
    is_pad_B: np.ndarray

    def of_rank(self, rank: int, world: int) -> "GlobalBatch":
        """The rank's part."""
        return GlobalBatch(self.bucket, self.ids_B[rank::world], self.is_pad_B[rank::world])


class BatchPlan:
    """All global batches of all epochs.

    Args:
        ids_of: for each bucket the ids of its samples, increasing; batches never mix buckets.
        config: batch size, seed, tail.
        view: what else decides which samples take part; goes into the plan's hash.

    Raises:
        ConfigError: no bucket fills a batch.
    """

    def __init__(
        self, ids_of: Mapping[str, np.ndarray], config: PlanConfig, view: Mapping[str, Any] | None = None
    ) -> None:
        self.ids_of = {bucket: np.asarray(ids, np.int64) for bucket, ids in sorted(ids_of.items())}
        self.config = config
        self.sha256 = digest({"plan": config.resolved(), "view": dict(view or {})})
        if not self.steps_per_epoch:
            sizes = {bucket: len(ids) for bucket, ids in self.ids_of.items()}
            raise ConfigError(
                f"split {config.split} has {sum(sizes.values())} usable samples ({sizes}); one bucket must hold "
                f"global_batch = {config.global_batch}; lower it, set plan.tail=pad, or loosen view and plan"
            )
        self._order = lru_cache(maxsize=2)(self._epoch_order)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.ids_of, self.config, self.sha256)

    @property
    def num_samples(self) -> int:
        """Samples that can take part in an epoch."""
        return sum(len(ids) for ids in self.ids_of.values())

    @cached_property
    def num_batches(self) -> dict[str, int]:
        """Global batches per epoch, by bucket; a bucket that fills none has 0."""
        size = self.config.global_batch
        round_up = size - 1 if self.config.tail == "pad" else 0
        return {bucket: (len(ids) + round_up) // size for bucket, ids in self.ids_of.items()}

    @property
    def steps_per_epoch(self) -> int:
        """Global batches per epoch: the same for every rank and epoch."""
        return sum(self.num_batches.values())

    def check_world(self, world: int) -> None:
        """Refuse a world whose ranks would get batches of different sizes."""
        if self.config.global_batch % world:
            raise ConfigError(
                f"plan.global_batch is {self.config.global_batch}; a multiple of {world} ranks is allowed; change it"
            )

    def batch(self, epoch: int, step: int) -> GlobalBatch:
        """The global batch of a step, 0 <= step < steps_per_epoch."""
        buckets, starts = self._order(epoch)[1]
        bucket, start = list(self.ids_of)[buckets[step]], int(starts[step])
        permuted = self._order(epoch)[0][bucket]
        wanted = np.arange(start, start + self.config.global_batch)
        return GlobalBatch(bucket, permuted[wanted % len(permuted)], wanted >= len(permuted))

    def _epoch_order(self, epoch: int) -> tuple[dict[str, np.ndarray], tuple[np.ndarray, np.ndarray]]:
        """Per bucket its ids in order; per step the bucket's number and the place of its first sample."""
        permuted = {bucket: ids[self._permutation(len(ids), epoch, bucket)] for bucket, ids in self.ids_of.items()}
        counts = list(self.num_batches.values())
        buckets = np.repeat(np.arange(len(counts)), counts)
        starts = np.concatenate([np.arange(count) for count in counts]) * self.config.global_batch
        order = self._permutation(len(buckets), epoch, "")
        return permuted, (buckets[order], starts[order])

    def _permutation(self, size: int, epoch: int, bucket: str) -> np.ndarray:
        if not self.config.shuffle:
            return np.arange(size)
        words = philox("order", self.config.seed, epoch, bucket).random_raw(size)
        return np.argsort(words, kind="stable")


def plan_batches(
    table: pa.Table,
    config: PlanConfig,
    usable_N: np.ndarray | None = None,
    view: Mapping[str, Any] | None = None,
) -> BatchPlan:
    """The plan over rows of a plan index.

    Args:
        table: rows with `id`, `split`, `caption`, `num_frames`.
        config: which of them, and how.
        usable_N: bool per row; rows that the view cannot show are false.
        view: the view's resolved values, for the plan's hash.

    Raises:
        ConfigError: no batch can be made.
    """
    kept_N = table.column("num_frames").to_numpy() >= config.min_num_frames
    if config.split != "all":
        kept_N &= table.column("split").to_numpy() == config.split
    if config.require_caption:
        kept_N &= table.column("caption").is_valid().to_numpy()
    if usable_N is not None:
        kept_N &= usable_N
    # A view of fixed size makes one bucket of all that it can show; other views will bucket by the clips' own size.
    return BatchPlan({"view": table.column("id").to_numpy()[kept_N]}, config, view)


def philox(*name: object) -> np.random.Philox:
    """A bit generator of its own for every name: key = the first 16 bytes of sha256("a:b:c"), little-endian."""
    key = hashlib.sha256(":".join(map(str, name)).encode()).digest()[:16]
    return np.random.Philox(key=np.frombuffer(key, "<u8"))


def sample_generator(seed: int, epoch: int, sample_id: int) -> np.random.Generator:
    """Randomness of one sample in one epoch: the same on any rank of any world."""
    return np.random.Generator(philox("sample", seed, epoch, sample_id))


def _rebuild(ids_of: Mapping[str, np.ndarray], config: PlanConfig, sha256: str) -> BatchPlan:
    plan = BatchPlan(ids_of, config)
    plan.sha256 = sha256
    return plan
