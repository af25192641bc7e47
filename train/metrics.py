"""What training reports: one JSON line per step, TensorBoard beside it. Values stay on the device until written."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from shards.config import Config


class MetricsConfig(Config):
    """Reports of training."""

    every_steps: int = Field(
        default=20, ge=1, description="Steps between writes; losses are read from the device only then."
    )
    level_bins: int = Field(default=5, ge=1, description="Equal bins of the noise level that the loss is split by.")
    tensorboard: bool = Field(default=True, description="Write TensorBoard events beside metrics.jsonl.")


@dataclass(frozen=True)
class StepReport:
    """One finished optimiser step.

    Attributes:
        step: number of the step, from 1.
        loss: mean over all ranks' clips; None if it is not finite.
        loss_by_level: mean loss per bin of noise level, None where no frame fell.
        learning_rate: rate used.
        gradient_norm: before clipping; None if it is not finite.
        data_wait_s: seconds waited for the batch.
        step_s: seconds of the step, the wait included.
        clips_per_s: clips of all ranks per second.
        progress: share of the budget spent.
        skipped: the loss or gradient was not finite, so nothing was changed.
    """

    step: int
    loss: float | None
    loss_by_level: list[float | None]
    learning_rate: float
    gradient_norm: float | None
    data_wait_s: float
    step_s: float
    clips_per_s: float
    progress: float
    skipped: bool


def sums_by_level(loss_BT: Tensor, t_BT: Tensor, num_bins: int, counted_BT: Tensor) -> Tensor:
    """Sum and count of the loss of frames that count (1, not 0) per bin of noise level, shape (2, bins)."""
    index = (t_BT.flatten() * num_bins).long().clamp(0, num_bins - 1)
    sums = torch.zeros(2, num_bins, device=loss_BT.device)
    sums[0].index_add_(0, index, (loss_BT * counted_BT).flatten().float())
    sums[1].index_add_(0, index, counted_BT.flatten().float())
    return sums


def means_of(sums: Tensor) -> list[float | None]:
    """Means from `sums_by_level`; None for an empty bin."""
    totals, counts = sums.tolist()
    return [finite(total / count) if count else None for total, count in zip(totals, counts, strict=True)]


def finite(value: float) -> float | None:
    """The value, or None if JSON has no word for it."""
    return value if math.isfinite(value) else None


class MetricsWriter:
    """Appends reports to `metrics.jsonl` and TensorBoard; after a resume, lines past the resumed step are dropped."""

    def __init__(self, config: MetricsConfig, folder: Path, resumed_step: int) -> None:
        self._path = folder / "metrics.jsonl"
        self._path.write_text("".join(_lines_until(self._path, resumed_step)), encoding="utf-8")
        self._board: Any = None
        if config.tensorboard:
            from torch.utils.tensorboard.writer import SummaryWriter

            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=resumed_step + 1)

    def write(self, reports: list[StepReport]) -> None:
        """Append reports, in order."""
        with self._path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(vars(report)) + "\n" for report in reports)
        if self._board is not None:
            for report in reports:
                for name, value in _scalars(report).items():
                    self._board.add_scalar(name, value, report.step)

    def close(self) -> None:
        """Flush what TensorBoard holds back."""
        if self._board is not None:
            self._board.close()


def read_reports(folder: Path) -> list[StepReport]:
    """All reports of a run folder, in order."""
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [StepReport(**json.loads(line)) for line in lines]


def _scalars(report: StepReport) -> Mapping[str, float]:
    values = {f"train/{name}": value for name, value in vars(report).items() if isinstance(value, float)}
    levels = {f"loss_by_level/{index}": value for index, value in enumerate(report.loss_by_level) if value is not None}
    return {**values, **levels}


def _lines_until(path: Path, step: int) -> list[str]:
    """Whole lines up to a step; a line torn by a kill ends the file, so it is dropped."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
