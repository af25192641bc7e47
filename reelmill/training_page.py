"""The page of a training run: curves, what the loss is made of, samples, what was skipped, and all settings.

It reads what a run folder holds, so it can be written while the run goes on, after it ended, and after it was killed.
"""

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from curate.report.facts import flat
from curate.report.page import render_page
from curate.rundir import write_text
from reelmill.curves import LOSS_SMOOTHING, Curve, curve
from reelmill.pictures import picture_uri
from reelmill.splits import Split, split_of
from shards.errors import ConfigError

if TYPE_CHECKING:
    from train.metrics import StepReport

log = logging.getLogger(__name__)

PAGE = "report.html"
MAX_REPORTS = 20_000  # lines of metrics.jsonl that are read, evenly spaced
MAX_PREVIEW_STEPS = 4
MAX_PREVIEW_BYTES = 24_000_000  # of all animations together
MAX_SKIPPED = 50
TIME_SHARE = 0.01  # of a training that its page may take

Report = Mapping[str, Any]
_CHARTS: tuple[tuple[str, str, Callable[[Report], float | None]], ...] = (
    ("learning rate", "", lambda report: report["learning_rate"]),
    ("gradient norm", "before clipping", lambda report: report["gradient_norm"]),
    ("wait for clips", "share of the step", lambda report: report["data_wait_s"] / report["step_s"]),
    ("clips", "per second, all ranks", lambda report: report["clips_per_s"]),
    ("latent frames", "per second, all ranks", lambda report: report["latents_per_s"]),
    ("MFU", "share of a large matrix product's rate", lambda report: report["mfu"]),
    ("memory", "MB, first rank", lambda report: report["memory_mb"]),
)


@dataclass(frozen=True)
class Preview:
    """Samples of one step: prompts with their animations as data URIs."""

    step: int
    samples: tuple[tuple[str, str], ...]


class TrainingPages:
    """Writes a run's page beside its training, at every checkpoint; costs at most a hundredth of its time."""

    def __init__(self, run: Path, every_steps: int) -> None:
        self._run, self._every_steps = run, every_steps
        self._not_before_s = 0.0

    def after(self, report: "StepReport") -> None:
        """Write if it is time to; a page that cannot be written ends no training."""
        if report.step % self._every_steps or time.monotonic() < self._not_before_s:
            return
        begin_s = time.monotonic()
        try:
            write_training_page(self._run)
        except Exception:
            log.warning("page of step %d not written", report.step, exc_info=True)
        end_s = time.monotonic()
        self._not_before_s = end_s + (end_s - begin_s) / TIME_SHARE

    def finish(self) -> Path:
        """The page of the whole run."""
        return write_training_page(self._run)


def write_training_page(run: Path) -> Path:
    """Write `report.html` into a run folder; returns its path.

    Raises:
        ConfigError: the folder holds no metrics of a training.
    """
    from train.skipped import read_skipped

    reports = _reports(run / "metrics.jsonl")
    settings = (run / "config.yaml").read_text(encoding="utf-8")
    config = yaml.safe_load(settings)
    skipped = {line["step"]: line for line in read_skipped(run)}
    previews, num_left_out = _previews(run, config["previews"]["prompts"])
    page = {
        "name": run.resolve().name,
        "last": reports[-1],
        "tiles": _tiles(reports, len(skipped)),
        "loss": _chart(reports, lambda report: report["loss"], LOSS_SMOOTHING),
        "splits": _splits(run, reports),
        "charts": [
            (title, unit, found)
            for title, unit, value in _CHARTS
            if (found := _chart(reports, value, 0.0 if title == "learning rate" else LOSS_SMOOTHING))
        ],
        "previews": previews,
        "num_left_out": num_left_out,
        "skipped": [skipped[step] for step in sorted(skipped, reverse=True)[:MAX_SKIPPED]],
        "num_skipped": len(skipped),
        "facts": _facts(run, config),
        "settings": settings,
    }
    path = run / PAGE
    write_text(path, render_page("training_page.html.j2", page, [Path(__file__).resolve().parent]))
    return path


def _reports(path: Path) -> list[dict[str, Any]]:
    """Whole lines, evenly spaced if there are many, the last one always."""
    if not path.is_file():
        raise ConfigError(f"{path} is missing; a run folder of `train fit` is allowed; train first")
    with path.open("rb") as file:
        num_lines = sum(line.endswith(b"\n") for line in file)  # the last one may be half written
    if not num_lines:
        raise ConfigError(f"{path} has 0 steps; at least 1 is needed; wait for metrics.every_steps")
    stride = -(-num_lines // MAX_REPORTS)
    with path.open("rb") as file:
        wanted = (
            line for number, line in enumerate(file, 1) if number <= num_lines and (num_lines - number) % stride == 0
        )
        return [json.loads(line) for line in wanted]


def _chart(reports: Sequence[Report], value: Callable[[Report], float | None], smoothing: float) -> Curve | None:
    found = ((report["step"], value(report)) for report in reports)
    return curve([(step, number) for step, number in found if number is not None], smoothing)


def _tiles(reports: Sequence[Report], num_skipped: int) -> list[tuple[str, object, str]]:
    """(what, value, class): of the last tenth of the steps, medians."""
    tail = reports[-max(1, len(reports) // 10) :]

    def median(name: str) -> float | None:
        values = [report[name] for report in tail if report[name] is not None]
        return float(np.median(values)) if values else None

    wait = sum(report["data_wait_s"] for report in tail) / sum(report["step_s"] for report in tail)
    tiles: list[tuple[str, object, str]] = [
        ("step", reports[-1]["step"], ""),
        ("loss", median("loss"), "kept"),
        ("clips/s", median("clips_per_s"), ""),
        ("latent frames/s", median("latents_per_s"), ""),
        ("of the time waiting for clips", f"{100 * wait:.1f} %", ""),
        ("MB of memory", max(report["memory_mb"] for report in reports), ""),
        ("steps skipped", num_skipped, "failed" if num_skipped else ""),
    ]
    mfu = median("mfu")
    return tiles if mfu is None else [*tiles, ("MFU", f"{100 * mfu:.1f} %", "")]


def _splits(run: Path, reports: Sequence[Report]) -> list[Split]:
    path = run / "axes.json"
    axes = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    losses = [report["loss_by"] for report in reports]
    found = (split_of(name, labels, [by.get(name, []) for by in losses]) for name, labels in axes.items())
    return [split for split in found if split is not None]


def _previews(run: Path, prompts: Sequence[str]) -> tuple[list[Preview], int]:
    """Previews of a few steps, the newest first, the first step always; and how many animations had no room."""
    from train.previews import FOLDER

    folders = sorted((run / FOLDER).glob("step-*"), reverse=True)
    chosen = sorted({round(place) for place in np.linspace(0, len(folders) - 1, MAX_PREVIEW_STEPS)}) if folders else []
    room, num_left_out, found = MAX_PREVIEW_BYTES, 0, list[Preview]()
    for place in chosen:
        samples = list[tuple[str, str]]()
        for file in sorted(folders[place].glob("*.webp")):
            number, size_bytes = int(file.stem), file.stat().st_size
            if size_bytes > room:
                num_left_out += 1
                continue
            room -= size_bytes
            samples.append((prompts[number] if number < len(prompts) else "", picture_uri(file)))
        if samples:
            found.append(Preview(int(folders[place].name.removeprefix("step-")), tuple(samples)))
    return found, num_left_out


def _facts(run: Path, config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the newest checkpoint says, and which data is read."""
    from train import checkpoint

    facts: dict[str, object] = {"run": str(run), "dataset": config["data"]["uri"], "version": config["data"]["version"]}
    latest = run / "checkpoints" / "LATEST"
    folder = latest.parent / latest.read_text(encoding="utf-8").strip() if latest.is_file() else None
    if folder is not None and checkpoint.is_committed(folder):
        record = checkpoint.read_record(folder)
        facts |= {"newest checkpoint": f"checkpoints/{folder.name}", "trained for (s)": record["elapsed_s"]}
        place = {name: value for name, value in record["position"].items() if isinstance(value, str | int | float)}
        facts |= {f"reader.{name}": value for name, value in place.items()}
    return [row for row in flat(facts) if row[1] != "–"]
