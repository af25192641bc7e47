"""The order of reading, computed and not discovered: a pure function of (samples, plan, epoch, step).

Per epoch and bucket the items (samples, or weighted draws) are put in a random order and cut into global batches; the
order of buckets over the steps is random too. Rank r takes `batch[r::world]`, so every rank takes the same number of
steps and any world size sees the same global batches. Any step of any epoch is computed alone, in the same time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from shards.errors import ConfigError
from shards.ids import digest
from shards.plans.buckets import Bucket
from shards.plans.captions import choose_caption
from shards.plans.filling import fill_buckets
from shards.plans.permutation import BlockOrder, Order, Permutation, in_order, philox
from shards.plans.plan_config import PlanConfig
from shards.plans.selection import funnel
from shards.plans.view import ViewConfig

__all__ = ["BatchPlan", "GlobalBatch", "PlanConfig", "philox", "plan_batches", "sample_generator"]


@dataclass(frozen=True)
class GlobalBatch:
    """The samples of one step over all ranks (B = samples).

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
        buckets: batches never mix them.
        config: seed and order.
        sha256: of all that decides over the batches, but the data.

    Raises:
        ConfigError: no bucket fills a batch.
    """

    def __init__(self, buckets: Sequence[Bucket], config: PlanConfig, sha256: str = "") -> None:
        self.buckets = {bucket.name: bucket for bucket in sorted(buckets, key=lambda bucket: bucket.name)}
        self.config = config
        self.sha256 = sha256
        if not self.steps_per_epoch:
            sizes = {name: f"{len(bucket.ids_N)} of {bucket.batch_size}" for name, bucket in self.buckets.items()}
            raise ConfigError(
                f"split {config.split} has {self.num_samples} usable samples ({sizes}); one bucket must hold its "
                f"batch; lower plan.global_batch or the token budget, set plan.tail=pad, or loosen view and plan"
            )
        self._epoch = lru_cache(maxsize=2)(self._order_of_epoch)

    def __reduce__(self) -> tuple[Any, ...]:
        return BatchPlan, (list(self.buckets.values()), self.config, self.sha256)

    @property
    def num_samples(self) -> int:
        """Samples that can take part in an epoch; one that is shown both as video and as image counts twice."""
        return sum(len(bucket.ids_N) for bucket in self.buckets.values())

    @cached_property
    def num_batches(self) -> dict[str, int]:
        """Global batches per epoch, by bucket; a bucket that fills none has 0."""
        return {name: bucket.num_batches for name, bucket in self.buckets.items()}

    @cached_property
    def steps_per_epoch(self) -> int:
        """Global batches per epoch: the same for every rank and epoch."""
        return sum(self.num_batches.values())

    def check_world(self, world: int) -> None:
        """Refuse a world whose ranks would get batches of different sizes."""
        for bucket in self.buckets.values():
            if bucket.batch_size % world:
                knob = "global_batch" if self.config.tokens_per_batch is None else "batch_multiple_of"
                raise ConfigError(
                    f"plan.{knob} is {getattr(self.config, knob)}; a multiple of {world} ranks is allowed; change it "
                    f"(a batch of bucket {bucket.name} has {bucket.batch_size} samples)"
                )

    def view_of(self, bucket: str) -> ViewConfig:
        """How the samples of a bucket are shown.

        Raises:
            ConfigError: the plan was made without a view.
        """
        view = self.buckets[bucket].view
        if view is None:
            raise ConfigError("plan has no view; decoding needs one; make it by dataset.plan(config, view)")
        return view

    def caption(self, epoch: int, sample_id: int, texts: Sequence[str | None]) -> str | None:
        """The caption of a sample in an epoch, of the values of the columns in `config.captions`."""
        if len(texts) == 1:
            return texts[0]
        generator = np.random.Generator(philox("caption", self.config.seed, epoch, sample_id))
        return choose_caption(texts, list(self.config.captions.values()), generator)

    def batch(self, epoch: int, step: int) -> GlobalBatch:
        """The global batch of a step, 0 <= step < steps_per_epoch."""
        if not 0 <= step < self.steps_per_epoch:
            raise IndexError(f"step is {step}; an epoch of this plan has steps 0 to {self.steps_per_epoch - 1}")
        order = self._epoch(epoch)
        place, number = order.bucket_and_number(step)
        bucket = list(self.buckets.values())[place]
        start = number * bucket.batch_size
        places_B = np.arange(start, start + bucket.batch_size)
        items_B = order.of_bucket(place)(places_B % bucket.num_items)
        return GlobalBatch(bucket.name, bucket.ids_at(items_B, order.offset(place)), places_B >= bucket.num_items)

    def _order_of_epoch(self, epoch: int) -> "_EpochOrder":
        return _EpochOrder(list(self.buckets.values()), self.config, epoch)


class _EpochOrder:
    """One epoch: which bucket each step takes, and in which order a bucket's items come."""

    def __init__(self, buckets: Sequence[Bucket], config: PlanConfig, epoch: int) -> None:
        self._buckets, self._config, self._epoch = buckets, config, epoch
        self._orders: dict[int, Order] = {}
        self._steps = self._buckets_of_steps() if sum(bucket.num_batches > 0 for bucket in buckets) > 1 else None

    def bucket_and_number(self, step: int) -> tuple[int, int]:
        """Place of the step's bucket, and number of its batch within the bucket."""
        if self._steps is None:
            return next(place for place, bucket in enumerate(self._buckets) if bucket.num_batches), step
        bucket_S, number_S = self._steps
        return int(bucket_S[step]), int(number_S[step])

    def offset(self, place: int) -> float:
        """See draw_offset."""
        return draw_offset(self._config, self._epoch, self._buckets[place])

    def of_bucket(self, place: int) -> Order:
        """The order of a bucket's items."""
        if place not in self._orders:
            self._orders[place] = self._order(place)
        return self._orders[place]

    def _order(self, place: int) -> Order:
        bucket, name = self._buckets[place], ("order", *self._name(place))
        if self._config.shuffle == "none":
            return in_order
        if self._config.shuffle == "full":
            return Permutation(bucket.num_items, *name)
        return BlockOrder(bucket.item_bounds(self.offset(place)), self._config.block_shards, *name)

    def _name(self, place: int) -> tuple[object, ...]:
        return self._config.seed, self._epoch, self._buckets[place].name

    def _buckets_of_steps(self) -> tuple[np.ndarray, np.ndarray]:
        """Per step the place of its bucket; and how many steps of the same bucket came before."""
        counts = np.array([bucket.num_batches for bucket in self._buckets])
        bucket_S = np.repeat(np.arange(len(counts), dtype=np.uint16), counts)
        if self._config.shuffle != "none":
            bucket_S = bucket_S[
                Permutation(len(bucket_S), "order", self._config.seed, self._epoch, "")(np.arange(len(bucket_S)))
            ]
        by_bucket = np.argsort(bucket_S, kind="stable")
        number_S = np.empty(len(bucket_S), np.uint32)
        number_S[by_bucket] = np.concatenate([np.arange(count) for count in counts])
        return bucket_S, number_S


def plan_batches(
    tables: Sequence[pa.Table],
    config: PlanConfig,
    view: ViewConfig | None = None,
    shares: Sequence[float] | None = None,
) -> BatchPlan:
    """The plan over rows of plan indexes.

    Args:
        tables: one per dataset, rows in order of id; ids of the second go on where those of the first end.
        config: which of them, and how.
        view: how they are shown; None for samples that are not decoded.
        shares: of each dataset in what an epoch shows, relative to each other; None: as many as it has.

    Raises:
        ConfigError: no batch can be made.
    """
    pinned: Mapping[str, Any] = {
        "plan": config.resolved(),
        "view": {} if view is None else view.resolved(),
        "shares": None if shares is None else list(shares),
    }
    buckets = fill_buckets(tables, config, view, shares)
    try:
        return BatchPlan(buckets, config, digest(pinned))
    except ConfigError as error:
        left = ", ".join(f"{count} {name}" for name, count in funnel(tables, config).items())
        raise ConfigError(f"{error} ({left})") from None


def draw_offset(config: PlanConfig, epoch: int, bucket: Bucket) -> float:
    """Where the draws of a bucket begin: a double in [0, 1) from a key of its own; 0 if it shows every sample once."""
    if not bucket.is_drawn:
        return 0.0
    return float(np.random.Generator(philox("draw", config.seed, epoch, bucket.name)).random())


def sample_generator(seed: int, epoch: int, sample_id: int) -> np.random.Generator:
    """Randomness of one sample in one epoch: the same on any rank of any world."""
    return np.random.Generator(philox("sample", seed, epoch, sample_id))
