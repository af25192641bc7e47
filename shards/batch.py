"""Batches for a trainer: a torch DataLoader whose order, start and randomness come from the plan.

The sampler hands out (epoch, step); a worker makes the whole batch of that step for its rank. There is no worker state,
so nothing to snapshot: the position after a batch is a few numbers, valid for any world size and number of workers.
"""

import contextlib
import multiprocessing
import os
import select
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from shards.commit import Record
from shards.decode import decode_clip
from shards.errors import ContractError
from shards.plan import BatchPlan, sample_generator
from shards.reader import ShardDataset
from shards.view import ViewConfig
from shards.watchdog import Board, InThread, Watchdog, show_stacks_on_signal


class LoaderState(Record):
    """A position in the data: the next step to take. The same on all ranks."""

    manifest_sha256: str
    plan_sha256: str
    seed: int
    epoch: int
    step: int


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
    """

    video_BTHWC: torch.Tensor
    captions: list[str | None]
    ids: torch.Tensor
    keys: list[str]
    scores: dict[str, torch.Tensor]
    is_pad_B: torch.Tensor
    epoch: int
    position: LoaderState

    def pin_memory(self) -> "Batch":
        """The same batch in pinned memory, for copies that overlap."""
        return replace(self, video_BTHWC=self.video_BTHWC.pin_memory())


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
    timeout_s: float = 600,
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
        timeout_s: no batch for so long is an error that names what is being read; a worker that has died is one
            within seconds.

    Raises:
        ConfigError: the world does not divide the global batch.
        ContractError: the state is of other data or another plan; while batches are taken: data is damaged.
        LoaderStopped: while batches are taken: a worker is dead or stuck.
    """
    plan.check_world(world)
    start = _start(dataset, plan, state)
    board = Board(num_workers)
    if not num_workers:
        board.enter(0)
    watchdog = Watchdog(dataset, board, rank, timeout_s)
    batches = DataLoader(
        _RankBatches(dataset, plan, view, rank, world, board),
        batch_size=None,
        sampler=_Steps(start, plan.steps_per_epoch),
        num_workers=num_workers,
        collate_fn=_as_is,  # pyright: ignore[reportArgumentType]  one step is one batch already
        pin_memory=pin_memory and num_workers > 0,
        worker_init_fn=partial(_start_worker, os.getpid(), board),
        multiprocessing_context=_worker_context() if num_workers else None,
        timeout=watchdog.poll_s if num_workers else 0,
    )
    return Batches(batches, watchdog, pin_memory and not num_workers and torch.accelerator.is_available())


class Batches(Iterator[Batch]):
    """The batches of one rank, under watch."""

    def __init__(self, batches: DataLoader[Batch], watchdog: Watchdog, pin_here: bool) -> None:
        source = iter(batches)
        if batches.num_workers:
            self._take = partial(watchdog.next_of_workers, source)
        else:
            self._take = partial(watchdog.next_of_thread, InThread(source))
        self._pin_here = pin_here

    def __next__(self) -> Batch:
        """The next batch; see `loader` for errors."""
        batch = self._take()
        return batch.pin_memory() if self._pin_here else batch


class _Steps(Sampler[tuple[int, int]]):
    """(epoch, step) without end."""

    def __init__(self, start: tuple[int, int], steps_per_epoch: int) -> None:
        self.start, self.steps_per_epoch = start, steps_per_epoch

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch, step = self.start
        while True:
            yield epoch, step
            epoch, step = following(epoch, step, self.steps_per_epoch)


class _RankBatches(Dataset[Batch]):
    def __init__(
        self, dataset: ShardDataset, plan: BatchPlan, view: ViewConfig, rank: int, world: int, board: Board
    ) -> None:
        self.dataset, self.plan, self.view, self.rank, self.world = dataset, plan, view, rank, world
        self.board = board

    def __getitem__(self, at: tuple[int, int]) -> Batch:
        epoch, step = at
        part = self.plan.batch(epoch, step).of_rank(self.rank, self.world)
        rows = [self.dataset.row(sample_id) for sample_id in part.ids_B.tolist()]
        return Batch(
            video_BTHWC=torch.from_numpy(
                np.stack([self._decode(*pair, epoch) for pair in zip(part.ids_B, rows, strict=True)])
            ),
            captions=[row["caption"] for row in rows],
            ids=torch.from_numpy(part.ids_B),
            keys=[row["key"] for row in rows],
            scores={name: torch.from_numpy(self._scores(name)[part.ids_B]) for name in self.view.score_columns},
            is_pad_B=torch.from_numpy(part.is_pad_B),
            epoch=epoch,
            position=position(self.dataset, self.plan, *following(epoch, step, self.plan.steps_per_epoch)),
        )

    def _decode(self, sample_id: np.int64, row: dict[str, Any], epoch: int) -> np.ndarray:
        generator = sample_generator(self.plan.config.seed, epoch, int(sample_id))
        info = get_worker_info()
        with self.board.reading(info.id if info else 0, int(sample_id), "mp4"):
            return decode_clip(self.dataset.read_member(int(sample_id), "mp4"), row, self.view, generator)

    def _scores(self, name: str) -> np.ndarray:
        return self.dataset.scores(name)


def position(dataset: ShardDataset, plan: BatchPlan, epoch: int, step: int) -> LoaderState:
    """The state whose next step is this one."""
    return LoaderState(
        manifest_sha256=dataset.manifest_sha256, plan_sha256=plan.sha256, seed=plan.config.seed, epoch=epoch, step=step
    )


def following(epoch: int, step: int, steps_per_epoch: int) -> tuple[int, int]:
    """The step after."""
    return (epoch, step + 1) if step + 1 < steps_per_epoch else (epoch + 1, 0)


def _start(dataset: ShardDataset, plan: BatchPlan, state: LoaderState | None) -> tuple[int, int]:
    if state is None:
        return 0, 0
    here = position(dataset, plan, state.epoch, state.step)
    if here != state or state.step >= plan.steps_per_epoch:
        raise ContractError(
            f"position is step {state.step} of plan {state.plan_sha256[:12]} over {state.manifest_sha256[:12]}; "
            f"this is plan {here.plan_sha256[:12]} of {plan.steps_per_epoch} steps over {here.manifest_sha256[:12]}; "
            f"resume with the version and configuration that the checkpoint names"
        )
    return state.epoch, state.step


def _worker_context() -> Any:
    """Workers fork from a server that has imported torch once, not from this process with its threads and devices."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", __name__])
    return context


def _as_is(batch: Batch) -> Batch:
    return batch


def _start_worker(trainer_pid: int, board: Board, worker: int) -> None:
    """One thread each; and an end with the trainer, whom the fork server outlives if it is killed."""
    show_stacks_on_signal()
    board.enter(worker)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with, args=(trainer_pid,), daemon=True).start()


def _end_with(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        select.select([os.pidfd_open(pid)], [], [])  # readable once the process is gone
    os._exit(1)
