"""Steps whose loss or gradient was not finite: all ranks leave them out together, the record names the clips."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shards.errors import ContractError
from train.data import Clips
from train.denoising import StepValues
from train.metrics import finite
from train.parallel import World, from_all_ranks

log = logging.getLogger(__name__)

FILE = "skipped.jsonl"


class SkippedSteps:
    """Records what was left out in `skipped.jsonl`, and ends a run that does nothing else."""

    def __init__(self, folder: Path, max_in_a_row: int, world: World) -> None:
        self._path, self._max, self._world = folder / FILE, max_in_a_row, world
        self._in_a_row = 0

    def after(self, step: int, values: StepValues, clips: Clips) -> None:
        """Look at a finished step; every rank must call it.

        Raises:
            ContractError: too many steps in a row were left out.
        """
        self._in_a_row = self._in_a_row + 1 if values.skipped else 0
        if not values.skipped:
            return
        keys = [key for of_rank in from_all_ranks(clips.keys, self._world) for key in of_rank]
        log.warning("step %d skipped: loss or gradient not finite; clips %s", step, ", ".join(keys))
        if self._world.is_first:
            line = {"step": step, "epoch": clips.epoch, "loss": finite(float(values.loss)), "keys": keys}
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        if self._in_a_row >= self._max:
            raise ContractError(
                f"{self._in_a_row} steps in a row up to {step} were not finite; metrics.max_skipped allows fewer than "
                f"{self._max}; see {self._path} and train replay, lower optim.learning_rate"
            )


def read_skipped(folder: Path) -> Sequence[dict[str, Any]]:
    """The record of a run folder, in order; a step that was repeated after a resume stands twice."""
    path = folder / FILE
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []
