"""Batches for a trainer: a torch DataLoader whose order, start and randomness come from the plan.

The sampler hands out (epoch, step); a worker makes the whole batch of that step for its rank. There is no worker state,
so nothing to snapshot: the position after a batch is a few numbers, valid for any world size and number of workers.
Who wants a DataLoader of their own takes `shards.reading.epoch.EpochBatches`.
"""

import contextlib
import logging
import multiprocessing
import os
import select
import threading
import traceback
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import cv2
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from shards.errors import ReelmillError
from shards.plans.plan import BatchPlan
from shards.plans.position import LoaderState, following, start_at
from shards.plans.view import ViewConfig
from shards.reading.config import ReadingConfig
from shards.reading.damage import Damage
from shards.reading.fetching import reading_store
from shards.reading.making import VIDEO, Batch, BatchMaker
from shards.reading.presence import check_presence
from shards.reading.reader import ShardDataset
from shards.reading.watchdog import Board, InThread, Watchdog, show_stacks_on_signal

__all__ = ["Batch", "Batches", "LoaderState", "loader", "start_worker", "worker_context"]

log = logging.getLogger(__name__)

Step = tuple[int, int, frozenset[int]]  # epoch, step, ids known to be damaged


@dataclass(frozen=True)
class _Failed:
    """An error of ours on its way from a worker, whose traceback cannot travel."""

    error: ReelmillError
    trace: str


def loader(
    dataset: ShardDataset,
    plan: BatchPlan,
    view: ViewConfig | None,
    *,
    members: Sequence[str] = (VIDEO,),
    rank: int = 0,
    world: int = 1,
    num_workers: int = 0,
    state: LoaderState | None = None,
    pin_memory: bool = False,
    reading: ReadingConfig | None = None,
) -> "Batches":
    """Batches without end, epoch after epoch, from the start or exactly after a stored position.

    Args:
        dataset: an opened version.
        plan: `dataset.plan(config, view)`.
        view: the same view; None if no clip is decoded.
        members: what is read of each sample: mp4, latent.npy, text.npy; see `Batch.tensors`.
        rank: of this process among the data-parallel ones.
        world: their number.
        num_workers: processes that decode; 0 decodes in a thread of this one.
        state: position of an earlier batch; may come from another world size.
        pin_memory: hand out pinned tensors.
        reading: waiting, damage, trust, storage.

    Raises:
        ConfigError: the world does not divide the global batch, or samples lack what view or members ask for.
        ContractError: the state is of other data or another plan, or a shard is gone or has another size; while batches
            are taken: data is damaged.
        LoaderStopped: while batches are taken: a worker is dead or stuck.
    """
    start = start_at(dataset, plan, state)
    reading = reading or ReadingConfig()
    dataset = dataset.through(partial(reading_store, reading=reading))
    check_presence(dataset, reading)
    damaged = set(state.damaged if state else ())
    board = Board(num_workers)
    if not num_workers:
        board.enter(0)
    watchdog = Watchdog(dataset, board, rank, reading.timeout_s)
    batches = DataLoader(
        _Batches(BatchMaker(dataset, plan, view, reading, rank, world, members, board)),
        batch_size=None,
        sampler=_Steps(start, plan.steps_per_epoch, damaged),
        num_workers=num_workers,
        collate_fn=_as_is,  # pyright: ignore[reportArgumentType]  one step is one batch already
        pin_memory=pin_memory and num_workers > 0,
        worker_init_fn=partial(_start_watched, os.getpid(), board),
        multiprocessing_context=worker_context(reading.start) if num_workers else None,
        prefetch_factor=reading.prefetch_factor if num_workers else None,
        timeout=watchdog.poll_s if num_workers else 0,
    )
    return Batches(batches, watchdog, damaged, pin_memory and not num_workers and torch.accelerator.is_available())


class Batches(Iterator[Batch]):
    """The batches of one rank, under watch; after an error there are no more.

    Attributes:
        num_substituted: samples so far that others stood in for.
    """

    def __init__(
        self, batches: "DataLoader[Batch | _Failed]", watchdog: Watchdog, damaged: set[int], pin_here: bool
    ) -> None:
        source = iter(batches)
        if batches.num_workers:
            self._take = partial(watchdog.next_of_workers, source)
        else:
            self._take = partial(watchdog.next_of_thread, InThread(source))
        self._damaged, self._pin_here = damaged, pin_here
        self._error: BaseException | None = None
        self.num_substituted = 0

    def __next__(self) -> Batch:
        """The next batch; see `loader` for errors."""
        if self._error is not None:  # going on would skip a batch
            raise self._error
        try:
            batch = self._take()
            if isinstance(batch, _Failed):
                raise batch.error from RuntimeError(batch.trace)
        except Exception as error:
            self._error = error
            raise
        for damage in batch.damages:
            self._count(damage)
        if self._damaged:
            position = batch.position.model_copy(update={"damaged": tuple(sorted(self._damaged))})
            batch = replace(batch, position=position)
        return batch.pin_memory() if self._pin_here else batch

    def _count(self, damage: Damage) -> None:
        self.num_substituted += 1
        if damage.sample_id not in self._damaged:
            self._damaged.add(damage.sample_id)
            log.warning(
                "sample %s is damaged (%d so far), %s of its batch stands in: %s",
                *(damage.key, len(self._damaged), damage.substitute_key, damage.detail),
            )


class _Steps(Sampler[Step]):
    """Epochs and steps without end, each with what is known to be damaged when it is handed out."""

    def __init__(self, start: tuple[int, int], steps_per_epoch: int, damaged: Collection[int]) -> None:
        self.start, self.steps_per_epoch, self.damaged = start, steps_per_epoch, damaged

    def __iter__(self) -> Iterator[Step]:
        epoch, step = self.start
        while True:
            yield epoch, step, frozenset(self.damaged)
            epoch, step = following(epoch, step, self.steps_per_epoch)


class _Batches(Dataset["Batch | _Failed"]):
    def __init__(self, maker: BatchMaker) -> None:
        self.maker = maker

    def __getitem__(self, at: Step) -> Batch | _Failed:
        try:
            return self.maker.batch(*at)
        except ReelmillError as error:
            return _Failed(error, traceback.format_exc())


def worker_context(start: str) -> Any:
    """How workers begin: never forked from this process, which has threads and devices."""
    context = multiprocessing.get_context(start)
    if start == "forkserver":
        context.set_forkserver_preload(["__main__", __name__])
    return context


def _as_is(batch: Batch) -> Batch:
    return batch


def _start_watched(trainer_pid: int, board: Board, worker: int) -> None:
    show_stacks_on_signal()
    board.enter(worker)
    start_worker(trainer_pid, worker)


def start_worker(trainer_pid: int, _: int) -> None:
    """First thing in a worker: one thread; and an end with the trainer, whom the fork server outlives if killed."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with, args=(trainer_pid,), daemon=True).start()


def _end_with(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        select.select([os.pidfd_open(pid)], [], [])  # readable once the process is gone
    os._exit(1)
