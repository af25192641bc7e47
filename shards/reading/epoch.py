"""The batches of one epoch as a map-style dataset of torch, for who brings a DataLoader of their own.

    batches = EpochBatches(dataset, plan, view, rank=rank, world=world, epoch=3)
    for batch in DataLoader(batches, batch_size=None, num_workers=4, multiprocessing_context="spawn"):
        ...

Item n is the rank's part of the n-th global batch, and a function of n alone: any number of workers, any way of
starting them and any sampler give the same items. `shards.reading.batch.loader` adds what a DataLoader does not have: a
watchdog, endless epochs, the exact resume in one call, and a memory of what was found damaged.
"""

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

import cv2
from torch.utils.data import Dataset, get_worker_info

from shards.errors import ConfigError
from shards.plans.plan import BatchPlan
from shards.plans.position import LoaderState, start_at
from shards.plans.view import ViewConfig
from shards.reading.config import ReadingConfig
from shards.reading.fetching import reading_store
from shards.reading.making import VIDEO, Batch, BatchMaker
from shards.reading.presence import check_presence
from shards.reading.reader import ShardDataset

log = logging.getLogger(__name__)


class EpochBatches(Dataset[Batch]):
    """What is left of an epoch, batch by batch.

    Args:
        dataset: an opened version.
        plan: `dataset.plan(config, view)`.
        view: the same view; None if no clip is decoded.
        members: what is read of each sample; see `Batch.tensors`.
        rank: of this process among the data-parallel ones. No sampler may divide the items among ranks again.
        world: their number.
        epoch: from 0; 0 or the state's where it is None.
        state: position of an earlier batch: items begin at its step, in its epoch.
        reading: damage, trust, storage.

    Raises:
        ConfigError: the world does not divide the global batch, samples lack what view or members ask for, or epoch
            and state disagree.
        ContractError: the state is of other data or another plan, or a shard is gone or has another size; while items
            are taken: data is damaged.
    """

    def __init__(
        self,
        dataset: ShardDataset,
        plan: BatchPlan,
        view: ViewConfig | None,
        *,
        members: Sequence[str] = (VIDEO,),
        rank: int = 0,
        world: int = 1,
        epoch: int | None = None,
        state: LoaderState | None = None,
        reading: ReadingConfig | None = None,
    ) -> None:
        first_epoch, self.first_step = start_at(dataset, plan, state)
        if state is not None and epoch not in (None, first_epoch):
            raise ConfigError(f"epoch is {epoch}; the state is of epoch {first_epoch}; leave epoch out, or the state")
        self.epoch = first_epoch if epoch is None else epoch
        reading = reading or ReadingConfig()
        dataset = dataset.through(partial(reading_store, reading=reading))
        check_presence(dataset, reading)
        self.maker = BatchMaker(dataset, plan, view, reading, rank, world, members)

    def __len__(self) -> int:
        return self.maker.plan.steps_per_epoch - self.first_step

    def __getitem__(self, number: int) -> Batch:
        if not 0 <= number < len(self):
            raise IndexError(f"batch is {number}; 0 to {len(self) - 1} are left of epoch {self.epoch}")
        batch = self.maker.batch(self.epoch, self.first_step + number)
        for damage in batch.damages:
            log.warning("sample %s is damaged, %s stands in: %s", damage.key, damage.substitute_key, damage.detail)
        return batch

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if get_worker_info() is not None:  # in a worker, beside others: one thread
            cv2.setNumThreads(1)
