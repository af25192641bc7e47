"""What training reports: one JSON line per step, TensorBoard beside it. Values stay on the device until written."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from shards.config import Config


class MetricsConfig(Config):
    """Reports of training."""

    every_steps: int = Field(
        default=20, ge=1, description="Steps between writes; losses are read from the device only then."
    )
    level_bins: int = Field(default=5, ge=1, description="Equal bins of the noise level that the loss is split by.")
    by_columns: tuple[str, ...] = Field(
        default=(), description="Numeric columns of the dataset by whose tenths the loss is split, e.g. flow_mag."
    )
    by_sources: int = Field(
        default=0, ge=0, description="The loss is split by so many of the largest source videos; the rest is one more."
    )
    mfu: bool = Field(
        default=True,
        description="Report operations per second as a share of what a large matrix product reaches on this machine; "
        "not for batches of several shapes.",
    )
    timeout_s: float = Field(
        default=1800.0, gt=0, description="A step that takes longer names its clips, shows all stacks and ends the run."
    )
    max_skipped: int = Field(
        default=20, ge=1, description="So many steps in a row whose loss or gradient is not finite end the run."
    )
    tensorboard: bool = Field(default=True, description="Write TensorBoard events beside metrics.jsonl.")


class PreviewsConfig(Config):
    """Samples drawn while training, of the same prompts and noise each time, with the averaged weights."""

    every_steps: int = Field(default=0, ge=0, description="Steps between them; 0: none.")
    prompts: tuple[str, ...] = Field(default=(), description="Texts; their words must be known to the model.")
    seed: int = Field(default=0, ge=0, description="Of the first prompt; the next ones count up.")

    @model_validator(mode="after")
    def _something_to_draw(self) -> "PreviewsConfig":
        if bool(self.every_steps) != bool(self.prompts):
            raise ValueError(
                f"every_steps is {self.every_steps} with {len(self.prompts)} prompts; both or neither; set the other"
            )
        return self


@dataclass(frozen=True)
class StepReport:
    """One finished optimiser step.

    Attributes:
        step: number of the step, from 1.
        loss: mean over all ranks' clips; None if it is not finite.
        loss_by: mean loss per axis (level, frame, text, …; see axes.json) and bin, None where no frame fell.
        learning_rate: rate used.
        gradient_norm: before clipping; None if it is not finite.
        data_wait_s: seconds waited for the batch.
        step_s: seconds of the step, the wait included.
        clips_per_s: clips of all ranks per second.
        latents_per_s: their latent frames.
        mfu: operations of the network per second, as a share of a large matrix product's; None if not asked for.
        memory_mb: of the first rank: peak on its GPU, or resident on a CPU.
        progress: share of the budget spent.
        skipped: the loss or gradient was not finite, so nothing was changed.
    """

    step: int
    loss: float | None
    loss_by: Mapping[str, list[float | None]]
    learning_rate: float
    gradient_norm: float | None
    data_wait_s: float
    step_s: float
    clips_per_s: float
    latents_per_s: float
    mfu: float | None
    memory_mb: float
    progress: float
    skipped: bool


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
    parts = {
        f"loss_by_{axis}/{index}": value
        for axis, means in report.loss_by.items()
        for index, value in enumerate(means)
        if value is not None
    }
    return {**values, **parts}


def _lines_until(path: Path, step: int) -> list[str]:
    """Whole lines up to a step; a line torn by a kill ends the file, so it is dropped."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
