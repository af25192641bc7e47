"""Trainings of the toy world that differ in one thing: `reelmill bench train --compare NAME`.

    objectives   what the network predicts, on the schedule that goes with it
    codecs       pixels to latents
    traps        the three switches in which LVDM's released code differs from its paper, one at a time, then all
    long         1,024 frames: hierarchy, perturbation and guidance each switched off in turn

Every variant sees the same clips in the same order for the same number of steps. The oracle judges samples: of prompts
for the first two; for the last two, which know no text, how long a video keeps showing the shape it began with.
"""

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import Field

from reelmill.bench.toy_clips import ToyClips
from reelmill.oracle_exam import sit_exam
from shards.config import Config, load_config
from shards.errors import ConfigError
from train.config import TrainConfig
from train.sample.generate import load
from train.trainer import FitResult, fit

log = logging.getLogger(__name__)
MIN_SNR = "objective.weight={kind: min_snr}"
UNIFORM = "objective.timesteps={kind: uniform}"
OBJECTIVES: Mapping[str, Sequence[str]] = {
    "eps on scaled_linear": ("objective={target: eps, schedule: {kind: scaled_linear}}", MIN_SNR, UNIFORM),
    "v on scaled_linear": ("objective={target: v, schedule: {kind: scaled_linear}}", MIN_SNR, UNIFORM),
    "x0 on scaled_linear": ("objective={target: x0, schedule: {kind: scaled_linear}}", MIN_SNR, UNIFORM),
    "x0 on flow": (),
    "flow on flow": ("objective.target=flow", "objective.weight={kind: uniform}", "sampler.kind=euler"),
}
CODECS: Mapping[str, Sequence[str]] = {
    "fixed transform": (),
    "learned image autoencoder": ("codec={kind: autoencoder}",),
    "learned video autoencoder": (
        "codec={kind: video_autoencoder, norm_groups: 8, frames_per_latent: 2, pixels_per_latent: 4}",
        "codec.latent_channels=32",  # as many numbers a frame as the image autoencoder
        "codec.training={steps: 600, learning_rate: 0.002, perceptual: {kind: none}, adversarial: null}",
    ),
}
PROMPTED = {"objectives": OBJECTIVES, "codecs": CODECS}
COMPARISONS = (*PROMPTED, "traps", "long")


class CompareConfig(Config):
    """Size of a comparison."""

    steps: int = Field(default=1000, ge=1, description="Optimiser steps of each training.")
    num_clips: int = Field(default=2000, ge=16, description="Clips of an epoch.")
    seeds: int = Field(default=1, ge=1, description="Trainings of each variant.")
    seen_prompts: int = Field(default=40, ge=1, description="Prompts of seen combinations.")
    samples_per_prompt: int = Field(default=3, ge=1, description="Samples of each held-out prompt.")
    videos: int = Field(default=16, ge=1, description="traps, long: videos judged.")
    frames: int = Field(default=1024, ge=32, description="long: frames of a video; traps take a quarter.")
    train: tuple[str, ...] = Field(default=(), description="Further overrides of train/toyworld, KEY=VALUE.")


@dataclass(frozen=True)
class Row:
    """One training and what it led to.

    Attributes:
        variant: name.
        seed: of the training.
        loss: of its last tenth; not comparable between objectives.
        train_s, sample_s: seconds; of all networks of the variant.
        figures: shares in [0, 1] by name.
    """

    variant: str
    seed: int
    loss: float | None
    train_s: float
    sample_s: float
    figures: Mapping[str, float]


def compare(name: str, config: CompareConfig, output: Path) -> list[Row]:
    """Train and judge every variant of a comparison; a rerun goes on where it stopped. Writes `<name>.json`.

    Raises:
        ConfigError: there is no such comparison.
    """
    if name not in COMPARISONS:
        raise ConfigError(f"--compare is {name!r}; {', '.join(COMPARISONS)} are allowed; name one of them")
    if name in PROMPTED:
        rows = [
            _prompted(config, output / name, variant, overrides, seed)
            for variant, overrides in PROMPTED[name].items()
            for seed in range(config.seeds)
        ]
    else:
        from reelmill.bench.long_compare import long_rows, trap_rows

        rows = (trap_rows if name == "traps" else long_rows)(config, output / name)
    (output / f"{name}.json").write_text(
        json.dumps({"config": config.resolved(), "rows": [asdict(row) for row in rows]}, indent=1), encoding="utf-8"
    )
    return rows


def table(rows: Sequence[Row]) -> list[str]:
    """Lines for people: a row per training, a column per figure."""
    names = list(dict.fromkeys(name for row in rows for name in row.figures))
    width = max(len(row.variant) for row in rows) + 2
    head = f"{'variant':<{width}}{'seed':>5}{'train s':>9}{'sample s':>9}{'loss':>9}"
    lines = [head + "".join(f"{name:>{_width(name)}}" for name in names)]
    for row in rows:
        loss = "-" if row.loss is None else f"{row.loss:.4f}"
        cells = [f"{row.figures[name]:.3f}" if name in row.figures else "-" for name in names]
        lines.append(
            f"{row.variant:<{width}}{row.seed:>5}{row.train_s:>9.0f}{row.sample_s:>9.0f}{loss:>9}"
            + "".join(f"{cell:>{_width(name)}}" for name, cell in zip(names, cells, strict=True))
        )
    return lines


def trained(
    config: CompareConfig, folder: Path, overrides: Sequence[str], seed: int, *, fps: float = 8, bouncing: bool = False
) -> FitResult:
    """One training on drawn clips, in a folder of its own; a finished one is not repeated."""
    steps = (f"budget.steps={config.steps}", f"checkpoint.every_steps={max(1, config.steps // 4)}", f"seed={seed}")
    run = load_config(TrainConfig, "train/toyworld", (*overrides, *steps, *config.train))
    view = run.data.view
    batch = run.data.plan.global_batch
    source = ToyClips(config.num_clips, batch, view.num_frames, fps, view.width, bouncing)
    log.info("training %s", folder)
    return fit(run, folder, source=source)


def folder_of(output: Path, variant: str, seed: int) -> Path:
    """Run folder of a variant."""
    return output / variant.replace(" ", "_") / f"seed{seed}"


def _prompted(config: CompareConfig, output: Path, variant: str, overrides: Sequence[str], seed: int) -> Row:
    folder = folder_of(output, variant, seed)
    result = trained(config, folder, overrides, seed)
    begin_s = time.monotonic()
    exams = sit_exam(load(folder), config.seen_prompts, config.samples_per_prompt)
    figures = {f"{exam.split} {name}": share for exam in exams for name, share in exam.share.items()}
    return Row(variant, seed, result.loss, result.elapsed_s, time.monotonic() - begin_s, figures)


def _width(name: str) -> int:
    return max(len(name) + 2, 8)
