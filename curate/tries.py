"""Which files a worker process died over: known to whoever starts the next one, and to the next one.

A worker writes down what it begins; who sees it die reads that and counts. The notes lie in scratch, so that a run that
was killed as a whole blames no file.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from curate.media.twice import TRIES
from curate.rundir import RunDir, write_json
from shards.errors import MediaError
from shards.ids import digest

WORKER_KILLED = "worker_killed"


class Tries:
    """The notes of one run.

    Args:
        run_dir: of the run.
        worker: name of the worker that begins items; "" for who only reads.
    """

    def __init__(self, run_dir: RunDir, worker: str = "") -> None:
        self.folder = run_dir.root / "scratch" / "tries"
        self.worker = worker

    @contextmanager
    def of(self, item: str) -> Iterator[None]:
        """Write down that this worker works on an item.

        Raises:
            MediaError: `worker_killed`: workers died over it as often as an item is tried.
        """
        if not self.worker:
            yield
            return
        if self.deaths(item) >= TRIES:
            told = f"{item} killed the worker process, perhaps by the memory it took; tried {TRIES} times"
            raise MediaError(told, WORKER_KILLED)
        note = self._note(self.worker)
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(json.dumps({"item": item, "pid": os.getpid()}), encoding="utf-8")
        try:
            yield
        finally:
            note.unlink()

    def blame(self, worker: str) -> str | None:
        """Count a death; returns the item that the worker was at, None if it was between items."""
        note = self._note(worker)
        try:
            item = json.loads(note.read_text(encoding="utf-8"))["item"]
        except (FileNotFoundError, ValueError):  # the second: it died writing
            return None
        write_json(self._count(item), {"item": item, "deaths": self.deaths(item) + 1})
        note.unlink()
        return item

    def deaths(self, item: str) -> int:
        """Workers that died over an item."""
        path = self._count(item)
        return json.loads(path.read_text(encoding="utf-8"))["deaths"] if path.is_file() else 0

    def _note(self, worker: str) -> Path:
        return self.folder / f"{worker}.doing"

    def _count(self, item: str) -> Path:
        return self.folder / f"{digest(item)[:16]}.deaths"
