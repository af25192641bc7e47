"""The pipeline on this machine: worker processes for media, this process for models."""

import multiprocessing
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.util import Finalize
from typing import Any

from curate.config import RunConfig
from curate.interrupt import CtrlC, leave_on_ctrl_c
from curate.modelling import Models
from curate.pack import ShardTask
from curate.rundir import Part
from curate.worker import Job, Worker, join_costs
from shards.errors import StoreError

ITEMS_PER_WORKER = 3  # in work or waiting for it; more would only be held in memory

_worker: Worker | None = None  # one per worker process, made by the pool's initialiser


class LocalExecutor:
    """Runs parts and shards in `workers` processes; with one worker, in this process."""

    def __init__(self, config: RunConfig) -> None:
        self.num_workers = config.workers or len(os.sched_getaffinity(0))
        self._ctrl_c = CtrlC()

    def parts(self, job: Job, parts: Sequence[Part]) -> Iterator[Mapping[str, Any]]:
        """Scan every part in a worker; run its models here as soon as it is there."""
        models = Models(job)
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
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(self.num_workers, len(items)), context, _open_worker, (job,)) as pool:
            waiting: dict[Future[Mapping[str, Any]], Any] = {}
            try:
                for item in items:  # an item is made when a place is free, not before
                    if len(waiting) == ITEMS_PER_WORKER * self.num_workers:
                        yield from _finished(waiting)
                    with self._ctrl_c.held():
                        waiting[pool.submit(_call, method, item)] = item
                while waiting:
                    yield from _finished(waiting)
                    self._ctrl_c.check()
            except BrokenProcessPool as error:
                raise StoreError("a worker process died; its parts are not done; run the same command again") from error
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _finished(waiting: dict[Future[Mapping[str, Any]], Any]) -> Iterator[tuple[Any, Mapping[str, Any]]]:
    """Wait for one or more items and take them out."""
    for future in wait(waiting, return_when=FIRST_COMPLETED).done:
        yield waiting.pop(future), future.result()


def _open_worker(job: Job) -> None:
    global _worker
    leave_on_ctrl_c()
    _worker = Worker(job)
    Finalize(_worker, _worker.close, exitpriority=10)  # atexit does not run in pool processes


def _call(method: str, item: Any) -> Mapping[str, Any]:
    assert _worker is not None
    return getattr(_worker, method)(item)
