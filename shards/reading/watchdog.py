"""No batch is waited for without end: dead processes are noticed, stuck ones named, and their stacks printed.

Every process that reads writes down what it is at in memory that the trainer shares, so that whoever waits can say
which sample of which shard is to blame.
"""

import faulthandler
import logging
import multiprocessing
import os
import queue
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Generic, TypeVar

import numpy as np

from shards.errors import StoreError
from shards.format.tar import SUFFIXES
from shards.reading.reader import ShardDataset

log = logging.getLogger(__name__)

T = TypeVar("T")

POLL_S = 5.0  # between looks at whether the workers live: a fork server's children send no signal when they end
_STACKS_S = 1.0  # for the signal to arrive and the stacks to be written
_PID, _SAMPLE, _SUFFIX, _SINCE_MS = range(4)
_IDLE = -1


class LoaderStopped(StoreError):
    """No batch can be had: a process that reads is dead or stuck. Started again, the run goes on where it was saved."""


class Board:
    """What each process that reads is at, in shared memory; process 0 is this one if there are no workers."""

    def __init__(self, num_workers: int) -> None:
        self._shared: Any = multiprocessing.get_context("spawn").RawArray("q", 4 * max(1, num_workers))
        for worker in range(max(1, num_workers)):
            self._cells(worker)[_SAMPLE] = _IDLE

    def enter(self, worker: int) -> None:
        """Say that this process is up."""
        self._cells(worker)[_PID] = os.getpid()

    @contextmanager
    def reading(self, worker: int, sample_id: int, suffix: str) -> Iterator[None]:
        """While a member is read and decoded."""
        self._cells(worker)[:] = (os.getpid(), sample_id, SUFFIXES.index(suffix), _now_ms())
        try:
            yield
        finally:
            self._cells(worker)[_SAMPLE] = _IDLE

    def pids(self) -> dict[int, int]:
        """Process id of each worker that has come up."""
        cells = {worker: self._cells(worker) for worker in range(len(self._shared) // 4)}
        return {worker: int(cell[_PID]) for worker, cell in cells.items() if cell[_PID]}

    def place(self, worker: int, dataset: ShardDataset) -> str | None:
        """What a worker has been at and for how long, for people; None if it is at nothing."""
        _, sample_id, suffix_no, since_ms = self._cells(worker).tolist()
        if sample_id == _IDLE:
            return None
        return f"{dataset.place(sample_id, SUFFIXES[suffix_no])} for {(_now_ms() - since_ms) / 1000:.0f} s"

    def _cells(self, worker: int) -> np.ndarray:
        return np.frombuffer(self._shared, np.int64)[4 * worker : 4 * worker + 4]


class InThread(Generic[T]):
    """Takes from an iterator in a thread of its own, so that whoever waits for the next item can give up."""

    def __init__(self, source: Iterator[T]) -> None:
        self._requests: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()
        threading.Thread(target=_serve, args=(source, self._requests, self._answers), daemon=True).start()

    def __del__(self) -> None:
        self._requests.put(False)

    def take(self, timeout_s: float) -> T:
        """The next item, or queue.Empty after the time."""
        self._requests.put(True)
        item, error = self._answers.get(timeout=timeout_s)
        if error is not None:
            raise error
        return item  # pyright: ignore[reportReturnType]  None only beside an error


def _serve(source: Iterator[T], requests: Any, answers: Any) -> None:
    while requests.get():
        try:
            answers.put((next(source), None))
        except BaseException as error:
            answers.put((None, error))


class Watchdog:
    """Waits for batches on behalf of one rank."""

    def __init__(self, dataset: ShardDataset, board: Board, rank: int, timeout_s: float) -> None:
        self.dataset, self.board, self.rank, self.timeout_s = dataset, board, rank, timeout_s

    @property
    def poll_s(self) -> float:
        """What a DataLoader's `timeout` must be, so that it looks at its workers between."""
        return min(POLL_S, self.timeout_s)

    def next_of_workers(self, batches: Iterator[T]) -> T:
        """The next item of a DataLoader with workers.

        Raises:
            LoaderStopped: a worker is dead, or nothing came for `timeout_s`.
        """
        deadline = time.monotonic() + self.timeout_s
        while True:
            try:
                return next(batches)
            except RuntimeError as error:
                text = str(error)
                if dead := re.match(r"DataLoader worker \(pid\(s\) ([0-9, ]+)\) exited unexpectedly", text):
                    raise self._died([int(pid) for pid in dead.group(1).split(",")]) from error
                if not text.startswith("DataLoader timed out after"):
                    raise
            if time.monotonic() >= deadline:
                stopped = self._stuck(_ask_for_stacks)
                self._end_workers()
                raise stopped

    def next_of_thread(self, batches: InThread[T]) -> T:
        """The next item of a thread of this process.

        Raises:
            LoaderStopped: nothing came for `timeout_s`.
        """
        try:
            return batches.take(self.timeout_s)
        except queue.Empty:
            raise self._stuck(_print_stacks) from None

    def _died(self, pids: list[int]) -> LoaderStopped:
        worker_of = {pid: worker for worker, pid in self.board.pids().items()}
        names = [f"worker {worker_of[pid]} (pid {pid})" for pid in pids if pid in worker_of]
        if not names:
            return LoaderStopped(
                f"rank {self.rank}: a worker process (pid {', '.join(map(str, pids))}) ended before it was up; what "
                f"it said is on stderr; a script that starts a loader with workers needs its "
                f'`if __name__ == "__main__":`; add it, or set num_workers to 0'
            )
        places = [self.board.place(worker_of[pid], self.dataset) or "nothing" for pid in pids if pid in worker_of]
        return LoaderStopped(
            f"rank {self.rank}: {', '.join(names)} died reading {'; '.join(places)}; see stderr and the kernel's log "
            f"(out of memory?); start the run again, with fewer workers if memory is short"
        )

    def _end_workers(self) -> None:
        """What is stuck would not end when asked, and nobody waits for its batches any more."""
        for pid in self.board.pids().values():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _stuck(self, show_stacks: Callable[[int], None]) -> LoaderStopped:
        pids = self.board.pids()
        places = {worker: self.board.place(worker, self.dataset) for worker in pids}
        for pid in pids.values():
            show_stacks(pid)
        time.sleep(_STACKS_S)
        at = [f"worker {n} (pid {pids[n]}) has been at {place}" for n, place in places.items() if place]
        return LoaderStopped(
            f"rank {self.rank} has had no batch for {self.timeout_s:g} s; {'; '.join(at) or 'no worker reads anything'}"
            f" (stacks of its threads are on stderr); mend the storage or raise timeout_s, then start the run again"
        )


def show_stacks_on_signal() -> None:
    """Let a worker print the stacks of all its threads when it is asked to, even in the middle of foreign code."""
    faulthandler.register(signal.SIGUSR1, file=sys.__stderr__ or sys.stderr, all_threads=True)


def _ask_for_stacks(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGUSR1)


def _print_stacks(_: int) -> None:
    faulthandler.dump_traceback(file=sys.__stderr__ or sys.stderr, all_threads=True)


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000  # one clock for all processes of a machine
