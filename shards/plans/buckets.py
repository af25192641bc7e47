"""Samples that share batches: which of them an epoch shows, and how often. Pure: places in, ids out."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from shards.plans.view import ViewConfig


@dataclass(frozen=True)
class Bucket:
    """A bucket's samples (N) and what an epoch takes of them.

    An epoch has `num_items` items of it, in order of id: each sample once, or draws. Reading shuffles them.

    Attributes:
        name: of the bucket.
        ids_N: whole numbers, increasing.
        batch_size: samples per global batch.
        num_batches: per epoch.
        is_drawn: the epoch has num_batches * batch_size draws; else every sample once.
        mass_N: float64, weights summed up to and with each sample; None: all weigh 1.
        bounds_S1: shard s holds the samples bounds_S1[s] … bounds_S1[s + 1] - 1 of ids_N; None: not known.
        view: how its samples are shown; None: the plan was made without one.
    """

    name: str
    ids_N: np.ndarray
    batch_size: int
    num_batches: int
    is_drawn: bool = False
    mass_N: np.ndarray | None = None
    bounds_S1: np.ndarray | None = None
    view: ViewConfig | None = None

    @property
    def num_items(self) -> int:
        """Items of an epoch: samples, or draws."""
        return self.num_batches * self.batch_size if self.is_drawn else len(self.ids_N)

    @cached_property
    def total_mass(self) -> float:
        """Weight of all samples."""
        if self.mass_N is None or not len(self.mass_N):
            return float(len(self.ids_N))
        return float(self.mass_N[-1])

    def ids_at(self, items_B: np.ndarray, offset: float) -> np.ndarray:
        """Ids (int64) of items.

        Draws are a systematic resampling: draw j takes the sample at mass (j + offset) * total / draws. So each sample
        is drawn as often as its weight says, rounded down or up, and over all offsets exactly so in the mean.

        Args:
            items_B: 0 <= item < num_items.
            offset: in [0, 1), of the epoch.

        Source: Kitagawa, Monte Carlo filter and smoother, 1996 (systematic resampling).
        """
        if not self.is_drawn:
            return self.ids_N[items_B].astype(np.int64)
        at_B = (items_B + offset) * self._mass_per_draw
        places_B = at_B.astype(np.int64) if self.mass_N is None else np.searchsorted(self.mass_N, at_B, side="right")
        return self.ids_N[np.minimum(places_B, len(self.ids_N) - 1)].astype(np.int64)

    def item_bounds(self, offset: float) -> np.ndarray:
        """Like bounds_S1, in items of an epoch instead of samples."""
        if self.bounds_S1 is None:
            raise ValueError(f"bucket {self.name} has no bounds of shards; plan with shuffle: blocks")
        if not self.is_drawn:
            return self.bounds_S1
        mass_S1 = self.bounds_S1
        if self.mass_N is not None:
            mass_S1 = np.where(self.bounds_S1 > 0, self.mass_N[self.bounds_S1 - 1], 0.0)
        bounds_S1 = np.clip(np.ceil(mass_S1 / self._mass_per_draw - offset), 0, self.num_items).astype(np.int64)
        bounds_S1[-1] = self.num_items
        return bounds_S1

    @property
    def _mass_per_draw(self) -> float:
        return self.total_mass / max(self.num_items, 1)
