"""Progress for people: bars with rates and remaining time on a terminal, plain lines elsewhere."""

import sys
import time
from typing import Any

from curate.run import Progress

LINE_INTERVAL_S = 10.0


def console_progress() -> Progress:
    """Bars if standard error is a terminal, lines otherwise."""
    return BarProgress() if sys.stderr.isatty() else LineProgress()


class LineProgress:
    """A line at a step's start and end, and every few seconds between."""

    def __init__(self) -> None:
        self.steps: dict[str, tuple[int, int, float, float]] = {}

    def start(self, step: str, total: int) -> None:
        """A step of so many items begins."""
        now = time.monotonic()
        self.steps[step] = (0, total, now, now)
        self._line(step)

    def advance(self, step: str, items: int = 1) -> None:
        """Items are done; says so if it is time to."""
        done, total, begun, said = self.steps[step]
        done += items
        now = time.monotonic()
        due = done == total or now - said >= LINE_INTERVAL_S
        self.steps[step] = (done, total, begun, now if due else said)
        if due:
            self._line(step)

    def close(self) -> None:
        """Nothing to undo."""

    def _line(self, step: str) -> None:
        done, total, begun, _ = self.steps[step]
        elapsed_s = time.monotonic() - begun
        left = f", {elapsed_s / done * (total - done):.0f} s left" if 0 < done < total else ""
        print(f"{step}: {done}/{total} in {elapsed_s:.0f} s{left}", file=sys.stderr, flush=True)


class BarProgress:
    """One bar per step, with rate and remaining time."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars
        from rich.text import Text

        class Rate(ProgressColumn):
            def render(self, task: Any) -> Text:
                return Text(f"{task.speed:.2f}/s" if task.speed else "", justify="right")

        name = TextColumn("{task.description:<8}")
        self.bars = Bars(
            name, BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn(), console=Console(stderr=True)
        )
        self.tasks: dict[str, Any] = {}

    def start(self, step: str, total: int) -> None:
        """A step of so many items begins."""
        self.tasks[step] = self.bars.add_task(step, total=total)
        self.bars.start()

    def advance(self, step: str, items: int = 1) -> None:
        """Items are done."""
        self.bars.advance(self.tasks[step], items)

    def close(self) -> None:
        """Give the terminal back."""
        self.bars.stop()
