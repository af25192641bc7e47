"""The pipeline on this machine: worker processes for media, this process for models."""

import multiprocessing
import os
import uuid
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.util import Finalize
from typing import Any

from curate.config import RunConfig
from curate.interrupt import CtrlC, leave_on_ctrl_c
from curate.media.twice import TRIES
from curate.modelling import Models
from curate.pack import ShardTask
from curate.rundir import Part, RunDir
from curate.tries import Tries
from curate.worker import Job, Worker, join_costs
from shards.errors import StoreError

ITEMS_PER_WORKER = 3  # in work or waiting for it; more would only be held in memory

_worker: Worker | None = None  # one per worker process, made by the pool's initialiser


class LocalExecutor:
    """Runs parts and shards in `workers` processes; with one worker, in this process."""

    def __init__(self, config: RunConfig) -> None:
        self.num_workers = config.workers or len(os.sched_getaffinity(0))
        self._ctrl_c = CtrlC()
        self._models: Models | None = None  # weights are loaded once, though models may change places

    def parts(self, job: Job, parts: Sequence[Part]) -> Iterator[Mapping[str, Any]]:
        """Scan every part in a worker; run its models here as soon as it is there."""
        models = self._models = Models(job) if self._models is None else self._models.again(job)
        for part, costs in self._each(job, "scan", parts):
            yield join_costs(costs, models.run(part.name))

    def shards(self, job: Job, tasks: Sequence[ShardTask]) -> Iterator[Mapping[str, Any]]:
        """Pack every shard in a worker."""
        for _, result in self._each(job, "pack", tasks):
            yield result

    def close(self) -> None:
        """No worker outlives a step."""
        self._ctrl_c.close()

    def _each(self, job: Job, method: str, items: Sequence[Any]) -> Iterator[tuple[Any, Mapping[str, Any]]]:
        if self.num_workers == 1 or len(items) <= 1:
            with Worker(job) as worker:
                for item in items:
                    self._ctrl_c.check()
                    yield item, getattr(worker, method)(item)
            return
        workers = [_WorkerProcess(job, method) for _ in range(min(self.num_workers, len(items)))]
        try:
            for number in range(len(items)):  # an item is made when a place is free, not before
                least = min(workers, key=len)
                if len(least) == ITEMS_PER_WORKER:
                    yield from self._finished(workers, items)
                    least = min(workers, key=len)
                with self._ctrl_c.held():
                    least.submit(number, items[number])
            while any(workers):
                yield from self._finished(workers, items)
                self._ctrl_c.check()
        except BaseException:
            for worker in workers:
                worker.pool.shutdown(wait=False, cancel_futures=True)
            raise
        for worker in workers:
            worker.pool.shutdown()

    def _finished(
        self, workers: Sequence["_WorkerProcess"], items: Sequence[Any]
    ) -> Iterator[tuple[Any, Mapping[str, Any]]]:
        """Wait for one or more items and take them out; replace workers that died."""
        wait([worker.waiting[0][1] for worker in workers if worker], return_when=FIRST_COMPLETED)
        for worker in workers:
            while worker and worker.waiting[0][1].done():
                number, future = worker.waiting[0]
                try:
                    result = future.result()
                except BrokenProcessPool:
                    self._ctrl_c.check()  # it may have died of it
                    with self._ctrl_c.held():
                        worker.replace(items)
                    continue
                worker.waiting.popleft()
                yield items[number], result


class _WorkerProcess:
    """One worker process and the items that it has; they end in the order in which they came."""

    def __init__(self, job: Job, method: str) -> None:
        self.job, self.method = job, method
        self.waiting: deque[tuple[int, Future[Mapping[str, Any]]]] = deque()
        self._deaths: Counter[int] = Counter()
        self._start()

    def __len__(self) -> int:
        return len(self.waiting)

    def submit(self, number: int, item: Any) -> None:
        """Give it one more item."""
        self.waiting.append((number, self.pool.submit(_call, self.method, item)))

    def replace(self, items: Sequence[Any]) -> None:
        """Put another process in the place of one that died, with the same items.

        Raises:
            StoreError: it died over nothing that could be left out: the machine is at fault.
        """
        first = self.waiting[0][0]
        if Tries(RunDir(self.job.root)).blame(self.name) is None:
            self._deaths[first] += 1
        if self._deaths[first] >= TRIES:
            raise StoreError(
                f"{self._deaths[first]} worker processes died between two files; memory may be short; "
                "lower run.workers and run the same command again"
            )
        numbers = [number for number, _ in self.waiting]
        self.waiting.clear()
        self.pool.shutdown()
        self._start()
        for number in numbers:
            self.submit(number, items[number])

    def _start(self) -> None:
        self.name = uuid.uuid4().hex
        context = multiprocessing.get_context("spawn")
        self.pool = ProcessPoolExecutor(1, context, _open_worker, (self.job, self.name))


def _open_worker(job: Job, name: str) -> None:
    global _worker
    leave_on_ctrl_c()
    _worker = Worker(job, name)
    Finalize(_worker, _worker.close, exitpriority=10)  # atexit does not run in pool processes


def _call(method: str, item: Any) -> Mapping[str, Any]:
    assert _worker is not None
    return getattr(_worker, method)(item)
