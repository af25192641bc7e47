"""The loop: batches in, checkpoints and metrics out. Resumes from the newest committed checkpoint by itself."""

import json
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from shards.errors import ConfigError, ContractError
from train import checkpoint
from train.breakdown import Breakdown
from train.codec_run import train_video_codec
from train.config import TrainConfig
from train.data import Clips, ClipSource, ShardSource, joint_position
from train.denoising import DenoisingStep, StepValues
from train.embedded import codec_sha256
from train.engine import Engine, load_frozen
from train.metrics import MetricsWriter, StepReport, finite
from train.models.autoencoder3d import VideoAutoencoderConfig
from train.optim import learning_rate
from train.parallel import World, from_all_ranks, from_first_rank
from train.precision import resolve
from train.prepare import prepare
from train.previews import Previews
from train.run_torchrun import open_world
from train.saver import Saver, newest_for_all
from train.skipped import SkippedSteps
from train.speed import Speedometer
from train.watchdog import StepWatchdog

log = logging.getLogger(__name__)

# What may differ between a checkpoint and the config that resumes it: nothing that changes a step's result.
# (Place and version of the data may: the saved position names the manifest by its hash.)
_MAY_CHANGE = ("budget", "checkpoint", "metrics", "sampler", "previews", "windows", "num_threads", "device", "parallel")
_DATA_MAY_CHANGE = ("uri", "version", "num_workers", "reading")


@dataclass(frozen=True)
class FitResult:
    """What a run gave.

    Attributes:
        checkpoint: newest checkpoint.
        step: finished optimiser steps.
        loss: mean loss of the last tenth of this process's steps, None if it did none.
        elapsed_s: seconds in steps and data waits, over all resumes.
        clips_per_s: clips of all ranks per second in this process, None if it did no step.
        data_wait_share: share of the time spent waiting for clips, None if it did no step.
        skipped_steps: steps of this process whose loss or gradient was not finite.
    """

    checkpoint: Path
    step: int
    loss: float | None
    elapsed_s: float
    clips_per_s: float | None
    data_wait_share: float | None
    skipped_steps: int


@dataclass(frozen=True)
class _Pending:
    """A finished step whose values are still on the device."""

    step: int
    values: StepValues
    learning_rate: float
    data_wait_s: float
    step_s: float
    progress: float


def fit(
    config: TrainConfig,
    output: Path,
    *,
    source: ClipSource | None = None,
    world: World | None = None,
    on_report: Callable[[StepReport], None] | None = None,
) -> FitResult:
    """Train until the budget is spent; called again on the same folder, continue where the newest checkpoint stands.

    Under torchrun every rank calls it; parameters are sharded over the ranks and the first rank writes.

    Args:
        config: the run.
        output: run folder: config.yaml, metrics.jsonl, tensorboard/, checkpoints/.
        source: clips; default: the shards that config.data names.
        world: this process among its peers; default: opened here, as torchrun describes it.
        on_report: called with every report when reports are written.

    Raises:
        ConfigError: the folder holds a checkpoint of another configuration, or the config cannot be built.
    """
    if config.num_threads is not None:
        torch.set_num_threads(config.num_threads)
    source = source or ShardSource(config.data, config.metrics)
    with open_world(config.device, config.parallel) if world is None else nullcontext(world) as world:
        output.mkdir(parents=True, exist_ok=True)
        found = newest_for_all(output / "checkpoints", world)
        config = with_precision(config, found, world)
        if config.method == "autoencoding":
            return _of_codec(train_video_codec(config, source, world, output / "codec")[1], config)
        return _Run(config, output, source, world, on_report, found).until_the_end()


def _of_codec(folder: Path, config: TrainConfig) -> FitResult:
    assert isinstance(config.codec, VideoAutoencoderConfig)
    return FitResult(folder, config.codec.training.steps, None, 0.0, None, None, 0)


def with_precision(config: TrainConfig, found: Path | None, world: World) -> TrainConfig:
    """The config with `precision: auto` resolved: as the run began, or as the first rank finds it."""
    if config.precision != "auto":
        return config
    if found is not None:
        precision = checkpoint.read_document(found, "config")["precision"]
    else:
        precision = "bf16" if from_first_rank(resolve("auto", world.device) == "bf16", world) else "fp32"
    return config.model_copy(update={"precision": precision})


def check_same_run(saved: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to continue a run under a config that would have trained something else.

    Raises:
        ConfigError: a key differs that changes what a step computes.
    """
    changed = [key for key in now if key not in (*_MAY_CHANGE, "data") and saved.get(key) != now[key]]
    data, data_now = saved.get("data", {}), now["data"]
    changed += [f"data.{key}" for key in data_now if key not in _DATA_MAY_CHANGE and data.get(key) != data_now[key]]
    if changed:
        raise ConfigError(
            f"config differs from the checkpoint's in {', '.join(changed)}; only {', '.join(_MAY_CHANGE)} may change; "
            "restore them, or train into another folder"
        )


class _Run:
    """One process's part of a run."""

    def __init__(
        self,
        config: TrainConfig,
        output: Path,
        source: ClipSource,
        world: World,
        on_report: Callable[[StepReport], None] | None,
        found: Path | None,
    ) -> None:
        self.config, self.output, self.world, self.on_report = config, output, world, on_report
        self.step, self.elapsed_s = 0, 0.0
        self.position: Mapping[str, Any] | None = None
        self.saver = Saver(config.checkpoint, output / "checkpoints", world)
        self.watchdog = StepWatchdog(config.metrics.timeout_s, world.rank)
        self.skips = SkippedSteps(output, config.metrics.max_skipped, world)
        self.pending: list[_Pending] = []
        self.reports: list[StepReport] = []
        self._start_or_resume(source, found)
        source.check_codec(codec_sha256(config.codec, self.engine.frozen.codec))
        self.breakdown = Breakdown((*DenoisingStep.axes(config, self.engine), *source.axes()))
        self.method = DenoisingStep(config, self.engine, world, self.breakdown)
        self.speed = Speedometer(config, world, len(self.engine.frozen.vocabulary))
        self.previews = Previews(config, self.engine, output, world)
        self.writer: MetricsWriter | None = None
        if world.is_first:
            (output / "config.yaml").write_text(config.to_yaml(), encoding="utf-8")
            axes = {axis.name: axis.labels for axis in self.breakdown.axes}
            (output / "axes.json").write_text(json.dumps(axes, indent=1, ensure_ascii=False), encoding="utf-8")
            self.writer = MetricsWriter(config.metrics, output, self.step)

    def until_the_end(self) -> FitResult:
        """Steps, reports and checkpoints until the budget is spent."""
        saved_step = self.step if self.position is not None else -1
        while (progress := self.config.budget.progress(self.step, self.elapsed_s)) < 1:
            self._one_step(progress)
            self.previews.after(self.step)
            if self.step % self.config.metrics.every_steps == 0:
                self._report()
            if self.step % self.config.checkpoint.every_steps == 0:
                self._save()
                saved_step = self.step
        self._report()
        if saved_step != self.step:
            self._save()
        self.saver.close()
        if self.writer is not None:
            self.writer.close()
        return self._result()

    def _start_or_resume(self, source: ClipSource, found: Path | None) -> None:
        if found is None:
            frozen, self.batches = prepare(self.config, source, self.world, self.output)
            self.engine = Engine(self.config, frozen, self.world)
            return
        check_same_run(checkpoint.read_document(found, "config"), self.config.resolved())
        record = checkpoint.read_record(found)
        self.step, self.elapsed_s, self.position = record["step"], record["elapsed_s"], record["position"]
        self.engine = Engine(self.config, load_frozen(self.config, found, self.world.device), self.world)
        self.engine.load(found)
        self.batches = source.batches(self.world.rank, self.world.size, self.position)
        log.info("resumed at step %d from %s", self.step, found)

    def _one_step(self, progress: float) -> None:
        begin_s = time.monotonic()
        with self.watchdog.watch(self.step + 1, "waiting for clips"):
            clips: Clips = next(self.batches)
        data_wait_s = time.monotonic() - begin_s
        rate = learning_rate(self.config.optim, self.step, progress)
        with self.watchdog.watch(self.step + 1, "computing", clips.keys):
            values = self.method(clips, self.step, rate)
        self.step, self.position = self.step + 1, clips.position
        self.skips.after(self.step, values, clips)
        step_s = time.monotonic() - begin_s
        self.elapsed_s = self._agreed(self.elapsed_s + step_s)
        self.pending.append(_Pending(self.step, values, rate, data_wait_s, step_s, progress))

    def _agreed(self, elapsed_s: float) -> float:
        """The first rank's clock: all must stop at the same step."""
        if self.config.budget.seconds is None:
            return elapsed_s
        return from_first_rank(elapsed_s, self.world)

    def _report(self) -> None:
        reports = [self._report_of(pending) for pending in self.pending]
        self.pending.clear()
        self.reports += reports
        if self.writer is None or not reports:
            return
        self.writer.write(reports)
        for report in reports:
            if self.on_report is not None:
                self.on_report(report)
        last = reports[-1]
        loss = "skipped" if last.loss is None else f"loss {last.loss:.4f}"
        left_s = self.elapsed_s * (1 - last.progress) / last.progress if last.progress else 0.0
        log.info("step %d: %s, %.1f clips/s, %.0f s left", last.step, loss, last.clips_per_s, left_s)

    def _save(self) -> None:
        self._report()  # metrics never lag behind a checkpoint
        position = joint_position(from_all_ranks(dict(self.position or {}), self.world))
        record = {"step": self.step, "elapsed_s": self.elapsed_s, "position": position}
        self.saver.save(self.step, self.engine.tensors(), self.engine.documents(), record)

    def _result(self) -> FitResult:
        folder = checkpoint.of_step(self.output / "checkpoints", self.step)
        if not checkpoint.is_committed(folder):
            raise ContractError(
                f"{self.output} holds no checkpoint after training; one is always written; report a bug"
            )
        tail = [report.loss for report in self.reports[-max(1, len(self.reports) // 10) :] if report.loss is not None]
        seconds = sum(report.step_s for report in self.reports)
        clips = sum(report.clips_per_s * report.step_s for report in self.reports)
        return FitResult(
            checkpoint=folder,
            step=self.step,
            loss=sum(tail) / len(tail) if tail else None,
            elapsed_s=self.elapsed_s,
            clips_per_s=clips / seconds if seconds else None,
            data_wait_share=sum(report.data_wait_s for report in self.reports) / seconds if seconds else None,
            skipped_steps=sum(report.skipped for report in self.reports),
        )

    def _report_of(self, pending: _Pending) -> StepReport:
        values = pending.values
        return StepReport(
            step=pending.step,
            loss=finite(float(values.loss)),
            loss_by=self.breakdown.means(values.sums),
            learning_rate=pending.learning_rate,
            gradient_norm=finite(float(values.gradient_norm)),
            data_wait_s=pending.data_wait_s,
            step_s=pending.step_s,
            **self.speed.of(pending.step_s, values.num_clips, values.num_frames),
            progress=pending.progress,
            skipped=values.skipped,
        )
