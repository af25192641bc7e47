"""Batches for a trainer: a torch DataLoader whose order, start and randomness come from the plan.

The sampler hands out (epoch, step); a worker makes the whole batch of that step for its rank. There is no worker state,
so nothing to snapshot: the position after a batch is a few numbers, valid for any world size and number of workers.
"""

import contextlib
import logging
import multiprocessing
import os
import select
import threading
import traceback
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from shards.errors import ConfigError, ReelmillError
from shards.plans.plan import BatchPlan, GlobalBatch, sample_generator
from shards.plans.position import LoaderState, following, position, start_at
from shards.plans.view import BORDER_COLUMNS, ViewConfig
from shards.reading.config import ReadingConfig
from shards.reading.damage import Damage, first_intact
from shards.reading.decode_child import ClipDecoder
from shards.reading.fetching import ReadAhead, reading_store
from shards.reading.reader import ShardDataset
from shards.reading.watchdog import Board, InThread, Watchdog, show_stacks_on_signal

log = logging.getLogger(__name__)

Step = tuple[int, int, frozenset[int]]  # epoch, step, ids known to be damaged


@dataclass(frozen=True)
class Batch:
    """What a rank trains on in one step (B = samples, T = frames, H, W = pixels, C = RGB).

    Attributes:
        video_BTHWC: uint8, upright.
        captions: per sample; None only where the plan does not require captions.
        ids: int64 (B,), of the samples in this version.
        keys: their names in the shards.
        scores: float32 (B,) of each column of the view; NaN is null.
        is_pad_B: bool; padding repeats a sample and should not count in a mean (never true with tail: drop).
        epoch: of this batch.
        position: AFTER this batch; what a checkpoint stores.
        damages: samples of the plan that others stand in for (only with on_damage: substitute).
    """

    video_BTHWC: torch.Tensor
    captions: list[str | None]
    ids: torch.Tensor
    keys: list[str]
    scores: dict[str, torch.Tensor]
    is_pad_B: torch.Tensor
    epoch: int
    position: LoaderState
    damages: tuple[Damage, ...] = ()

    def pin_memory(self) -> "Batch":
        """The same batch in pinned memory, for copies that overlap."""
        return replace(self, video_BTHWC=self.video_BTHWC.pin_memory())


@dataclass(frozen=True)
class _Failed:
    """An error of ours on its way from a worker, whose traceback cannot travel."""

    error: ReelmillError
    trace: str


def loader(
    dataset: ShardDataset,
    plan: BatchPlan,
    view: ViewConfig,
    *,
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
        view: the same view.
        rank: of this process among the data-parallel ones.
        world: their number.
        num_workers: processes that decode; 0 decodes in a thread of this one.
        state: position of an earlier batch; may come from another world size.
        pin_memory: hand out pinned tensors.
        reading: waiting, damage, trust, storage.

    Raises:
        ConfigError: the world does not divide the global batch, or the view needs columns that are not there.
        ContractError: the state is of other data or another plan; while batches are taken: data is damaged.
        LoaderStopped: while batches are taken: a worker is dead or stuck.
    """
    plan.check_world(world)
    _check_borders(dataset, view)
    start = start_at(dataset, plan, state)
    reading = reading or ReadingConfig()
    dataset = dataset.through(partial(reading_store, reading=reading))
    damaged = set(state.damaged if state else ())
    board = Board(num_workers)
    if not num_workers:
        board.enter(0)
    watchdog = Watchdog(dataset, board, rank, reading.timeout_s)
    batches = DataLoader(
        _RankBatches(dataset, plan, view, reading, rank, world, board),
        batch_size=None,
        sampler=_Steps(start, plan.steps_per_epoch, damaged),
        num_workers=num_workers,
        collate_fn=_as_is,  # pyright: ignore[reportArgumentType]  one step is one batch already
        pin_memory=pin_memory and num_workers > 0,
        worker_init_fn=partial(_start_watched, os.getpid(), board),
        multiprocessing_context=worker_context() if num_workers else None,
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


class _RankBatches(Dataset["Batch | _Failed"]):
    def __init__(
        self,
        dataset: ShardDataset,
        plan: BatchPlan,
        view: ViewConfig,
        reading: ReadingConfig,
        rank: int,
        world: int,
        board: Board,
    ) -> None:
        self.dataset, self.plan, self.view, self.reading = dataset, plan, view, reading
        self.rank, self.world, self.board = rank, world, board
        self.decoder = ClipDecoder(reading)
        self.members = ReadAhead(dataset, reading.parallel_reads)

    def __getitem__(self, at: Step) -> Batch | _Failed:
        try:
            return self._batch(*at)
        except ReelmillError as error:
            return _Failed(error, traceback.format_exc())

    def _batch(self, epoch: int, step: int, damaged: frozenset[int]) -> Batch:
        whole = self.plan.batch(epoch, step)
        ids_B, frames, damages = self._taken(whole, epoch, damaged)
        rows = [self.dataset.row(sample_id) for sample_id in ids_B.tolist()]
        return Batch(
            video_BTHWC=torch.from_numpy(np.stack(frames)),
            captions=[self._caption(sample_id, epoch) for sample_id in ids_B.tolist()],
            ids=torch.from_numpy(ids_B),
            keys=[row["key"] for row in rows],
            scores={name: torch.from_numpy(self.dataset.scores(name, ids_B)) for name in self.view.score_columns},
            is_pad_B=torch.from_numpy(whole.of_rank(self.rank, self.world).is_pad_B),
            epoch=epoch,
            position=position(self.dataset, self.plan, *following(epoch, step, self.plan.steps_per_epoch)),
            damages=damages,
        )

    def _taken(
        self, whole: GlobalBatch, epoch: int, damaged: frozenset[int]
    ) -> tuple[np.ndarray, list[np.ndarray], tuple[Damage, ...]]:
        """This rank's part: ids, frames, and what stands in for what."""
        ids_B, take = whole.ids_B.tolist(), partial(self._decode, epoch, self.plan.view_of(whole.bucket))
        places = range(self.rank, len(ids_B), self.world)
        self.members.start([ids_B[place] for place in places if ids_B[place] not in damaged], "mp4")
        if self.reading.on_damage == "raise":
            return whole.ids_B[places], [take(ids_B[place]) for place in places], ()
        broken = dict.fromkeys(damaged, "")
        taken = [first_intact(ids_B, place, broken, take) for place in places]
        pairs = [(ids_B[place], sample_id) for place, (sample_id, _) in zip(places, taken, strict=True)]
        damages = tuple(self._damage(*pair, broken) for pair in pairs if pair[0] != pair[1])
        return np.array([sample_id for sample_id, _ in taken]), [frames for _, frames in taken], damages

    def _caption(self, sample_id: int, epoch: int) -> str | None:
        return self.plan.caption(epoch, sample_id, self.dataset.texts(sample_id, self.plan.config.captions))

    def _damage(self, sample_id: int, substitute_id: int, broken: dict[int, str]) -> Damage:
        keys = [self.dataset.row(number)["key"] for number in (sample_id, substitute_id)]
        return Damage(keys[0], sample_id, broken[sample_id], keys[1], substitute_id)

    def _decode(self, epoch: int, view: ViewConfig, sample_id: int) -> np.ndarray:
        generator = sample_generator(self.plan.config.seed, epoch, sample_id)
        info = get_worker_info()
        with self.board.reading(info.id if info else 0, sample_id, "mp4"):
            mp4 = self.members.read(sample_id, "mp4")
            return self.decoder.decode(mp4, self.dataset.row(sample_id), view, generator)


def _check_borders(dataset: ShardDataset, view: ViewConfig) -> None:
    missing = [name for name in BORDER_COLUMNS if name not in dataset.rows.column_names]
    if view.crop == "inner_box" and missing:
        raise ConfigError(
            f"view.crop is inner_box; the dataset has no columns {', '.join(missing)}; curate with borders or set "
            f"view.crop to center"
        )


def worker_context() -> Any:
    """Workers fork from a server that has imported torch once, not from this process with its threads and devices."""
    context = multiprocessing.get_context("forkserver")
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
