"""`reelmill demo`: the main job on an embedded default, from raw video to samples and a report.

    toy-world raw videos -> curate (captioner trained here) -> shards -> text-to-video model -> samples -> oracle
    real clips           -> curate (captions only from sidecar text or $REELMILL_CAPTIONER)  -> shards

What is finished is not done again: interrupt it and run it again.
"""

import json
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow.parquet as pq
import typer
from pydantic import Field

from curate.config import load_curate_config
from curate.run import Curated, curate_videos
from curate.rundir import read_json, write_json, write_text
from reelmill.contact_sheet import contact_sheet
from reelmill.demo_report import write_demo_report
from reelmill.oracle_exam import Exam, Sample, chance, sit_exam
from reelmill.progress import console_progress, stepping, training_progress
from reelmill.realclips import fetch_real_clips
from reelmill.samples import write_gif
from reelmill.toyworld.captioner import CaptionerConfig, train_captioner
from reelmill.toyworld.captioner_score import score_captioner
from reelmill.toyworld.make import make
from shards.config import Config, load_config
from shards.errors import ConfigError, ReelmillError
from shards.facts import machine_facts, package_versions
from train.config import TrainConfig
from train.sample.generate import load
from train.trainer import FitResult, fit

T = TypeVar("T")

GIFS_SHOWN = 12
SHEET_ROWS = 24
COMMANDS = (
    "reelmill curate decide demo/toy --set keep.motion='flow_mag >= 0.1'",
    "reelmill shards verify demo/toy --frames",
    "reelmill train sample demo/model --prompt 'a red star moves up' --output samples",
    "reelmill curate run curate/scan_only YOUR_VIDEOS/ --output run",
)


class DemoFailed(ReelmillError):
    """A number of the demo is below its gate."""


class GatesConfig(Config):
    """Least share of samples of held-out triples that the oracle reads right."""

    colour: float = Field(default=0.90, ge=0, le=1, description="Colour.")
    kind: float = Field(default=0.75, ge=0, le=1, description="Kind.")
    direction: float = Field(default=0.80, ge=0, le=1, description="Direction.")


class DemoConfig(Config):
    """Sizes of the demo. The defaults take about twelve minutes on two cores."""

    seed: int = Field(default=0, ge=0, description="Of the toy world, the captioner and the model.")
    raw_videos: int = Field(default=64, ge=2, description="Toy-world raw videos.")
    captioner_steps: int = Field(default=1500, ge=1, description="Training steps of the captioner.")
    captioner_clips: int = Field(default=300, ge=1, description="Unseen clips that the captioner is scored on.")
    model_steps: int = Field(default=1000, ge=1, description="Training steps of the text-to-video model, at most.")
    model_s: float = Field(default=610, gt=0, description="Training time of the text-to-video model, at most.")
    samples_per_prompt: int = Field(default=3, ge=1, description="Samples of each held-out prompt.")
    seen_prompts: int = Field(default=36, ge=1, description="Prompts of seen combinations, sampled once each.")
    gates: GatesConfig = Field(default=GatesConfig(), description="What held-out triples must reach.")


class Steps:
    """Runs the demo's steps, says how long each took, and keeps its numbers for the report."""

    def __init__(self) -> None:
        self.done: list[dict[str, Any]] = []

    def run(self, name: str, what: str, work: Callable[[], T], numbers: Callable[[T], Mapping[str, Any]]) -> T:
        """Run one step."""
        typer.echo(f"== {name}: {what}")
        begun_s = time.perf_counter()
        result = work()
        step = {"name": name, "what": what, "wall_s": time.perf_counter() - begun_s, "numbers": dict(numbers(result))}
        self.done.append(step)
        shown = "  ".join(f"{key} {value}" for key, value in step["numbers"].items())
        typer.echo(f"   {step['wall_s']:.0f} s  {shown}")
        return result


def run_demo(config: DemoConfig, output: Path) -> None:
    """Run the whole chain and write report.html and contact_sheet.png.

    Raises:
        DemoFailed: the model's samples are below a gate; the report is written all the same.
    """
    output = output.resolve()
    _same_demo(config, output)
    raw, captioner, model = output / "raw", output / "captioner", output / "model"
    steps = Steps()
    captioner_score = steps.run(
        "draw and learn to caption",
        "toy-world raw videos on one core, a BLIP-2 captioner on the other",
        lambda: _draw_and_train_captioner(config, output),
        lambda score: {"videos": config.raw_videos, **_captioner_numbers(score)},
    )
    toy = steps.run(
        "curate the toy world",
        "one scan, scores, captions, rules, exact cuts, shards",
        lambda: _curate_toys(raw, captioner, output / "toy"),
        _curation_numbers,
    )
    real = steps.run(
        "curate real clips",
        "the same on real footage",
        lambda: _curate_real(output / "real"),
        _curation_numbers,
    )
    steps.run(
        "train",
        "a text-to-video model, by streaming from the published shards",
        lambda: _train(config, toy.run_dir.dataset, model),
        lambda result: {"steps": result.step, "loss": round(result.loss, 4) if result.loss else "as before"},
    )
    exams = steps.run(
        "sample and read back",
        "videos from prompts; an oracle reads colour, kind and direction",
        lambda: sit_exam(load(model), config.seen_prompts, config.samples_per_prompt),
        lambda found: {exam.name: f"{exam.share['all']:.0%} all right" for exam in found},
    )
    gates = _gates(config, exams)
    _report(output, steps, captioner_score, exams, gates, real)
    _say(output, exams, gates)
    problems = [*toy.problems, *real.ledger.offences]
    if problems:
        raise DemoFailed(f"curation is not what it should be: {'; '.join(problems)}; see {output / 'toy/report.html'}")
    failed = [gate for gate in gates if not gate["ok"]]
    if failed:
        said = ", ".join(
            f"{gate['name']} is {gate['value']:.0%}, at least {gate['limit']:.0%} is wanted" for gate in failed
        )
        raise DemoFailed(
            f"held-out triples: {said}; train longer (--set model_s=900 --output another); see {output / 'report.html'}"
        )


def _same_demo(config: DemoConfig, output: Path) -> None:
    """What is finished is not done again, so it must have been made with the same sizes.

    Raises:
        ConfigError: the folder cannot be written, or holds the demo of another configuration.
    """
    record = output / "demo.yaml"
    try:
        output.mkdir(parents=True, exist_ok=True)
        if not record.exists():
            write_text(record, config.to_yaml())
    except OSError as error:
        raise ConfigError(f"--output is {output}; {error.strerror}; name a folder that can be written") from error
    if record.read_text(encoding="utf-8") != config.to_yaml():
        raise ConfigError(f"--output {output} holds a demo of other sizes; see {record}; name another folder")


def _draw_and_train_captioner(config: DemoConfig, output: Path) -> dict[str, Any]:
    folder = output / "captioner"
    scored, drawn = output / "captioner.json", output / "raw.complete"
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as pool:
        training = None if scored.is_file() else pool.submit(_make_captioner, config, folder)
        if not drawn.is_file():
            make(output / "raw", config.raw_videos, config.seed)
            drawn.touch()
        if training:
            write_json(scored, training.result())
    return read_json(scored)


def _make_captioner(config: DemoConfig, folder: Path) -> dict[str, Any]:
    captioner = CaptionerConfig(seed=config.seed, num_steps=config.captioner_steps)
    with stepping("captioner", captioner.num_steps) as on_step:
        train_captioner(folder, captioner, on_step)
    return dict(score_captioner(folder, config.captioner_clips))


def _curate_toys(raw: Path, captioner: Path, output: Path) -> Curated:
    overrides = [f"caption.model.path={captioner}", f"caption.only_uri_glob={raw}/*"]
    return curate_videos(load_curate_config("curate/toyworld", overrides), [str(raw)], output, console_progress())


def _curate_real(output: Path) -> Curated:
    inputs = [str(path) for path in fetch_real_clips()]
    folder = os.environ.get("REELMILL_REAL_VIDEOS")
    captioner = os.environ.get("REELMILL_CAPTIONER")
    overrides = [f"caption.model.path={captioner}"] if captioner else []
    config = load_curate_config("curate/demo_real", overrides)
    return curate_videos(config, [*inputs, *([folder] if folder else [])], output, console_progress())


def _train(config: DemoConfig, dataset: Path, model: Path) -> FitResult:
    overrides = [
        f"data.uri={dataset}",
        f"seed={config.seed}",
        f"budget.seconds={config.model_s}",
        f"budget.steps={config.model_steps}",
    ]
    with training_progress() as on_report:
        return fit(load_config(TrainConfig, "train/toyworld", overrides), model, on_report=on_report)


def _captioner_numbers(score: Mapping[str, float]) -> dict[str, float]:
    return {f"caption {name}": round(value, 3) for name, value in score.items()}


def _curation_numbers(result: Curated) -> dict[str, Any]:
    stats = result.manifest.stats if result.manifest else None
    return {
        "videos": result.ledger.num_videos,
        "input s": round(float(result.ledger.input_s), 1),
        "kept s": round(float(result.ledger.kept_s), 1),
        "clips": stats.num_samples if stats else 0,
        "captions": stats.num_captions if stats else 0,
        "problems": "; ".join(result.problems) or "none",
    }


def _gates(config: DemoConfig, exams: Sequence[Exam]) -> list[dict[str, Any]]:
    held = next(exam for exam in exams if exam.split == "held_triple")
    return [
        {"name": name, "value": held.share[name], "limit": limit, "ok": held.share[name] >= limit}
        for name, limit in config.gates.resolved().items()
    ]


def _report(
    output: Path,
    steps: Steps,
    captioner: Mapping[str, Any],
    exams: Sequence[Exam],
    gates: Sequence[Mapping[str, Any]],
    real: Curated,
) -> None:
    shown = _shown_samples(exams)
    facts = {
        "steps": steps.done,
        "captioner": captioner,
        "oracle": [{"prompts": exam.name, "n": len(exam.samples), **exam.share} for exam in exams],
        "chance": chance(),
        "gates": gates,
        "loss_curve": _loss_curve(output / "model" / "metrics.jsonl"),
        "contact_sheet": _write_sheet(shown, output / "contact_sheet.png"),
        "gifs": _write_gifs(shown, output / "samples"),
        "curation_report": {"the toy world": "toy/report.html", "real clips": "real/report.html"},
        "real_clips": _real_clips(real),
        "commands": COMMANDS,
        "versions": package_versions(),
        "machine": machine_facts(),
    }
    write_demo_report(output / "report.html", facts)


def _shown_samples(exams: Sequence[Exam]) -> list[tuple[str, Sample]]:
    """The first few of every exam, with its name."""
    return [(exam.name, sample) for exam in exams for sample in exam.samples[: SHEET_ROWS // len(exams)]]


def _write_sheet(shown: Sequence[tuple[str, Sample]], path: Path) -> Path:
    videos_BTHWC = np.stack([sample.video_THWC for _, sample in shown])
    prompts, verdicts = [sample.prompt for _, sample in shown], [sample.verdict for _, sample in shown]
    return contact_sheet(videos_BTHWC, prompts, verdicts, path, [name for name, _ in shown])


def _write_gifs(shown: Sequence[tuple[str, Sample]], folder: Path) -> list[dict[str, Any]]:
    folder.mkdir(exist_ok=True)
    picked = [sample for _, sample in shown[:: max(1, len(shown) // GIFS_SHOWN)]]
    return [
        {"prompt": sample.prompt, "path": write_gif(sample.video_THWC, folder / f"{number:02d}.gif")}
        for number, sample in enumerate(picked)
    ]


def _loss_curve(metrics: Path) -> list[tuple[int, float]]:
    """(step, loss) of every reported step."""
    rows = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    return [(row["step"], row["loss"]) for row in rows if "loss" in row]


def _real_clips(real: Curated) -> list[dict[str, Any]]:
    """Per real video what became of it."""
    videos, clips = (pq.read_table(real.run_dir.catalog(name)).to_pylist() for name in ("videos", "clips"))
    rows = []
    for video in videos:
        own = [clip for clip in clips if clip["video_id"] == video["video_id"]] if video["status"] == "ok" else []
        kept = sum(clip["status"] == "kept" for clip in own)
        reasons = Counter(clip["drop_rule"] for clip in own if clip["drop_rule"])
        note = video["error"] or video["drop_rule"] or ", ".join(f"{rule} {number}" for rule, number in reasons.items())
        rows.append({"uri": Path(video["uri"]).name, "segments": len(own), "kept": kept, "note": note})
    return rows


def _say(output: Path, exams: Sequence[Exam], gates: Sequence[Mapping[str, Any]]) -> None:
    for exam in exams:
        shares = "  ".join(f"{name} {share:4.0%}" for name, share in exam.share.items())
        typer.echo(f"{exam.name:<32} {len(exam.samples):>3} samples  {shares}")
    guess = "  ".join(f"{name} {share:4.0%}" for name, share in chance().items())
    typer.echo(f"{'a guess':<32} {'':>11}  {guess}")
    typer.echo(f"gates: {'met' if all(gate['ok'] for gate in gates) else 'MISSED'}")
    for name in ("report.html", "contact_sheet.png", "toy/report.html", "real/report.html"):
        typer.echo(output / name)
