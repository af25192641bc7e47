"""Ctrl-C over worker processes: a terminal sends it to all of them at once, also while they start."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from types import FrameType
from typing import Any


class CtrlC:
    """A driver's side: Ctrl-C is raised at once, but not inside the start of a process, and it is never lost.

    An exception in the middle of a start leaves a process that prints a traceback. An exception can also be swallowed:
    C code asks for attributes and takes any exception for a no. So `check` raises it again, between two items.
    Outside the main thread, where signals do not arrive, this does nothing.
    """

    def __init__(self) -> None:
        self._came = self._is_held = False
        self._before: Any = None
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._take)

    def close(self) -> None:
        """Take it no longer."""
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold it back, here and in processes that are started meanwhile; they call `leave_on_ctrl_c`."""
        resource_tracker.ensure_running()  # its own start would let blocked signals through
        self._is_held = True
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            self._is_held = False
        self.check()

    def check(self) -> None:
        """Raise it if it came."""
        if self._came:
            raise KeyboardInterrupt

    def _take(self, number: int, frame: FrameType | None) -> None:
        self._came = True
        if not self._is_held:
            raise KeyboardInterrupt


def leave_on_ctrl_c() -> None:
    """A worker's side: end without a word; the driver says that it was interrupted, and says it once."""
    if signal.SIGINT in signal.sigpending():
        os._exit(0)
    signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
