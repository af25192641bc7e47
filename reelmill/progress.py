"""Progress for people: bars with rates and remaining time on a terminal, plain lines elsewhere."""

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from curate.run import Progress

if TYPE_CHECKING:
    from train.metrics import StepReport

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


@contextmanager
def stepping(name: str, num_steps: int) -> Iterator[Callable[[int, float], None]]:
    """What a small training run calls after each step, with the step's number and its loss."""
    with closing(console_progress()) as progress:
        progress.start(name, num_steps)
        yield lambda step, loss: progress.advance(name)


@contextmanager
def training_progress() -> Iterator["Callable[[StepReport], None] | None"]:
    """What a training run calls with its reports: on a terminal a bar in place of the trainer's lines, else nothing.

    Of torchrun's ranks the first one draws.
    """
    if not sys.stderr.isatty() or os.environ.get("RANK", "0") != "0":
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    numbers = TextColumn("step {task.fields[step]}  loss {task.fields[loss]}  {task.fields[clips_per_s]:.1f} clips/s")
    columns = (TextColumn("train   "), BarColumn(), TaskProgressColumn(), numbers, TimeRemainingColumn())
    lines = logging.getLogger("train.trainer")
    level = lines.level
    lines.setLevel(logging.WARNING)
    try:
        with Bars(*columns, console=Console(stderr=True)) as bars:
            task = bars.add_task("train", total=1.0, step=0, loss="-", clips_per_s=0.0)

            def show(report: "StepReport") -> None:
                loss = "skipped" if report.loss is None else f"{report.loss:.4f}"
                bars.update(
                    task, completed=report.progress, step=report.step, loss=loss, clips_per_s=report.clips_per_s
                )

            yield show
            bars.update(task, completed=1.0)  # a report says what was spent before its step
    finally:
        lines.setLevel(level)


def each_of(*hearers: "Callable[[StepReport], None] | None") -> "Callable[[StepReport], None]":
    """One callback for reports that calls all that are not None."""

    def hear(report: "StepReport") -> None:
        for hearer in hearers:
            if hearer is not None:
                hearer(report)

    return hear
