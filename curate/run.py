"""The main job: inputs to a published dataset. Sequence only; stages compute, an executor says where.

    ingest -> parts (probe, key frames, scan, scenes, scores | models)
           -> duplicates -> decide -> pack -> publish -> report

Running the same command again does what is missing and nothing else.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute

from curate.config import CurateConfig
from curate.decision.decide import RuleStats, decide, rule_stats
from curate.decision.dedup import mark_duplicate_videos
from curate.decision.ledger import Ledger, balance, problems
from curate.decision.unscored import columns_not_scored
from curate.inputs.ingest import expand_inputs
from curate.media.tools import ffmpeg_builds
from curate.modelling import models_name
from curate.pack import ShardTask, mark_failed, packed_record, plan_shards
from curate.parts import plan_parts, read_parts, remove_other_parts
from curate.pipeline import Pipeline
from curate.report.write import write_report
from curate.rundir import Part, RunDir, write_json, write_table, write_text
from curate.worker import Job
from shards.commit import read_commit
from shards.errors import ConfigError, ContractError
from shards.facts import machine_facts, package_versions
from shards.ids import digest
from shards.manifest import Manifest
from shards.publish import publish
from shards.schema import STATUS_UNSCORED

pc: Any = pyarrow.compute  # its stubs refuse the plain values that the functions take

CostsOf = Mapping[str, Any]
log = logging.getLogger(__name__)


class Executor(Protocol):
    """Where the work runs. Both executors give the same bytes."""

    def parts(self, job: Job, parts: Sequence[Part]) -> Iterator[CostsOf]:
        """Scan and model every part, in any order."""
        ...

    def shards(self, job: Job, tasks: Sequence[ShardTask]) -> Iterator[CostsOf]:
        """Pack every shard, in any order; each mapping has `failed`: clip_id -> code."""
        ...

    def close(self) -> None:
        """Release processes."""
        ...


class Progress(Protocol):
    """Told how far each step is."""

    def start(self, step: str, total: int) -> None:
        """A step of so many items begins."""
        ...

    def advance(self, step: str, items: int = 1) -> None:
        """Items are done."""
        ...

    def close(self) -> None:
        """Nothing more comes, whatever happened."""
        ...


@dataclass(frozen=True)
class Curated:
    """What a run ended with."""

    run_dir: RunDir
    ledger: Ledger
    rules: Sequence[RuleStats]
    manifest: Manifest | None
    problems: Sequence[str]

    def summary(self) -> str:
        """The funnel and the paths, as text."""
        lines = [self.ledger.describe(), f"report   {self.run_dir.root / 'report.html'}"]
        if self.manifest:
            lines.append(f"dataset  {self.run_dir.dataset} v{self.manifest.version}")
        return "\n".join(lines)


def curate_videos(config: CurateConfig, inputs: Sequence[str], output: Path, progress: Progress) -> Curated:
    """Curate `inputs` into `output`.

    Raises:
        ConfigError: bad configuration, a required model is missing, or no input.
    """
    pipeline = Pipeline.of(config)
    for missing in pipeline.require_models():
        log.warning("optional model is missing, its columns will be null: %s", missing)
    run_dir = RunDir(output.resolve())
    rows = expand_inputs(inputs, config.ingest)
    if not len(rows):
        raise ConfigError(
            f"inputs are {list(inputs)}, which hold 0 videos; files, folders, globs and lists are allowed"
        )
    ffmpeg_builds(config.media.ffmpeg)  # one that does not run is named before the work, not after it
    with run_dir.locked(), closing(progress), closing(make_executor(config)) as executor:
        return _curate(pipeline, rows, run_dir, executor, progress)


def make_executor(config: CurateConfig) -> Executor:
    """The executor that the configuration names."""
    if config.run.executor == "ray":
        from curate.run_ray import RayExecutor

        return RayExecutor(config.run)
    from curate.run_local import LocalExecutor

    return LocalExecutor(config.run)


def _curate(pipeline: Pipeline, rows: pa.Table, run_dir: RunDir, executor: Executor, progress: Progress) -> Curated:
    config = pipeline.config
    job = Job(config, run_dir.root)
    parts = plan_parts(rows, pipeline, run_dir)
    costs = list(_track(progress, "scan", executor.parts(job, parts), len(parts)))
    videos, clips = gather(pipeline, run_dir, parts)
    clips = decide(clips, videos, pipeline.clip_rules)
    if unscored := columns_not_scored(clips.filter(pc.equal(clips["status"], STATUS_UNSCORED))):
        raise ContractError(f"clips that no rule drops lack {unscored}; every score is computed before; report this")
    plan_id = make_plan_id(pipeline, videos)
    write_json(run_dir.root / "plan.json", {"plan_id": plan_id, "steps": pipeline.steps()})
    tasks = plan_shards(clips, videos, config.pack, config.cut)
    job = Job(config, run_dir.root, plan_id)
    packed = list(_track(progress, "pack", executor.shards(job, tasks), len(tasks)))
    clips = mark_failed(clips, {key: code for item in packed for key, code in item["failed"].items()})
    write_text(run_dir.root / "config.yaml", config.to_yaml())
    write_table(run_dir.catalog("videos"), videos)
    write_table(run_dir.catalog("clips"), clips)
    write_json(
        run_dir.root / "metrics.json",
        _metrics(costs, packed, videos, package_versions() | ffmpeg_builds(config.media.ffmpeg)),
    )
    stats = rule_stats(clips, pipeline.clip_rules)
    ledger = balance(videos, clips)
    manifest = _publish(config, run_dir, job, tasks) if ledger.balances else None
    write_report(run_dir.root)
    found = problems(videos, clips, stats)
    if not found:
        remove_other_parts(run_dir, parts, clip_files(pipeline, parts))
    return Curated(run_dir, ledger, stats, manifest, found)


def gather(pipeline: Pipeline, run_dir: RunDir, parts: Sequence[Part]) -> tuple[pa.Table, pa.Table]:
    """All rows of VIDEO and of clips, duplicates marked.

    A file that occurs at several uris keeps its clips once; the other uris' rows are rejected as a whole.
    """
    videos, clips = read_parts(run_dir, parts, clip_files(pipeline, parts), pipeline.video_rules)
    videos, clips = mark_duplicate_videos(videos, clips)
    return videos, pipeline.gather.gather(clips)


def clip_files(pipeline: Pipeline, parts: Sequence[Part]) -> list[str]:
    """Name of each part's `models` file."""
    return [models_name(part.name, pipeline) for part in parts]


def make_plan_id(pipeline: Pipeline, videos: pa.Table) -> str:
    """Hash of all that shards are made of: inputs and their texts, configuration, stages, weights, FFmpeg builds."""
    names = ["uri", "sha256", "sidecar_caption", "licence"]
    inputs = sorted((list(row.values()) for row in videos.select(names).to_pylist()), key=str)
    stages = [stage.identity() for stage in pipeline.stages]
    return digest([inputs, pipeline.config.data_config(), stages, ffmpeg_builds(pipeline.config.media.ffmpeg)])


def _publish(config: CurateConfig, run_dir: RunDir, job: Job, tasks: Sequence[ShardTask]) -> Manifest | None:
    """The next version from this plan's shards; None if no clip became a sample, which is a problem of its own.

    Raises:
        ContractError: a shard that was packed is not in the dataset.
    """
    packed = [task for task in tasks if packed_record(run_dir, job.plan_id, task.number)["num_samples"]]
    commits = [read_commit(run_dir.dataset, job.plan_id, task.number) for task in packed]
    if None in commits:
        raise ContractError(
            f"dataset {run_dir.dataset} lacks packed shards; nothing may remove them; rerun the command"
        )
    found = [commit for commit in commits if commit is not None]
    return publish(run_dir.dataset, found, config.data_config(), config.split) if found else None


def _metrics(
    costs: Sequence[CostsOf], packed: Sequence[CostsOf], videos: pa.Table, versions: Mapping[str, str]
) -> dict[str, Any]:
    steps: dict[str, dict[str, float]] = {}
    frames = {"source": sum(value or 0 for value in videos["num_packets"].to_pylist())}
    for item in [*costs, *packed]:
        for step, entry in item["steps"].items():
            total = steps.setdefault(step, {"items": 0, "cpu_s": 0.0, "wall_s": 0.0})
            for key in total:
                total[key] += entry[key]
        for key, number in item["frames"].items():
            frames[key] = frames.get(key, 0) + number
    rows = [{"step": step, **entry} for step, entry in steps.items()]
    return {"steps": rows, "frames": frames, "versions": versions, "machine": machine_facts()}


def _track(progress: Progress, step: str, items: Iterator[CostsOf], total: int) -> Iterator[CostsOf]:
    progress.start(step, total)
    for item in items:
        progress.advance(step)
        yield item
