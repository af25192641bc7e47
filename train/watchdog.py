"""An end for steps that hang: after a time without progress, say what was under way, show all stacks, leave.

A rank that waits for a dead peer can only leave; torchrun (or Ray, or Slurm) then ends or restarts the others.
"""

import faulthandler
import logging
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

log = logging.getLogger(__name__)

EXIT_CODE = 75  # EX_TEMPFAIL: trying again may help


class StepWatchdog:
    """Watches the steps of one rank from a thread of its own."""

    def __init__(self, timeout_s: float, rank: int) -> None:
        self._timeout_s, self._rank = timeout_s, rank

    @contextmanager
    def watch(self, step: int, doing: str, clips: Sequence[str] = ()) -> Iterator[None]:
        """Leave the process if the block takes longer than the timeout.

        Args:
            step: number of the step.
            doing: what the block does, for people.
            clips: what it does it with.
        """
        done = threading.Event()
        thread = threading.Thread(target=self._wait, args=(done, step, doing, clips), daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _wait(self, done: threading.Event, step: int, doing: str, clips: Sequence[str]) -> None:
        if done.wait(self._timeout_s):
            return
        names = ", ".join(clips) or "none yet"
        log.error(
            "rank %d: step %d, %s, takes longer than %.0f s; metrics.timeout_s allows no more; clips: %s; leaving",
            *(self._rank, step, doing, self._timeout_s, names),
        )
        faulthandler.dump_traceback(sys.__stderr__ or 2, all_threads=True)
        os._exit(EXIT_CODE)
