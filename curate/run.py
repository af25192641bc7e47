"""The main job: inputs to a published dataset. Sequence only; stages compute, an executor says where.

    ingest -> parts (probe, key frames, scan, scenes, scores | models)
           -> duplicates -> decide -> pack -> publish -> report

Running the same command again does what is missing and nothing else.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute

from curate.clips.encoders import check_encoder
from curate.config import CurateConfig
from curate.decision.decide import RuleStats, decide, rule_stats
from curate.decision.dedup import mark_duplicate_videos
from curate.decision.ledger import Ledger, balance, problems
from curate.decision.unscored import columns_not_scored
from curate.inputs.ahead import Ahead, uris_to_pack, uris_to_scan
from curate.inputs.ingest import expand_inputs
from curate.media.tools import ffmpeg_builds
from curate.model_order import known_order, order_path, settle_order, trial_parts
from curate.modelling import models_name
from curate.pack import ShardTask, mark_failed
from curate.packing import costs_of, plan_packing, publish_packed
from curate.parts import plan_parts, read_parts, remove_other_parts
from curate.pipeline import Pipeline
from curate.report.write import write_report
from curate.reuse import remember_failures
from curate.rundir import Part, RunDir, read_json, write_json, write_table, write_text
from curate.table_digest import table_digest
from curate.worker import Job
from shards.errors import ConfigError, ContractError
from shards.facts import machine_facts, package_versions
from shards.ids import digest
from shards.schema import STATUS_KEPT, STATUS_UNSCORED
from shards.versions.manifest import Manifest

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
    rows = expand_inputs(inputs, config.ingest)
    if not len(rows):
        raise ConfigError(
            f"inputs are {list(inputs)}, which hold 0 videos; files, folders, globs and lists are allowed"
        )
    return curate_rows(config, rows, output, progress)


def curate_rows(config: CurateConfig, rows: pa.Table, output: Path, progress: Progress) -> Curated:
    """As `curate_videos`, of rows as `expand_inputs` makes them."""
    pipeline = Pipeline.of(config)
    for missing in pipeline.require_models():
        log.warning("optional model is missing, its columns will be null: %s", missing)
    run_dir = RunDir(output.resolve())
    ffmpeg_builds(config.media.ffmpeg)  # one that does not run is named before the work, not after it
    for target in config.cut.targets.values() if config.cut.mode == "encode" else ():
        check_encoder(target, config.media.ffmpeg)
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
    with Ahead(run_dir, config, uris_to_scan(run_dir, parts)):
        costs = list(_track(progress, "scan", _scored(pipeline, run_dir, executor, job, parts), len(parts)))
    videos, clips = gather(pipeline, run_dir, parts)
    clips = decide(clips, videos, pipeline.clip_rules)
    if unscored := columns_not_scored(clips.filter(pc.equal(clips["status"], STATUS_UNSCORED))):
        raise ContractError(f"clips that no rule drops lack {unscored}; every score is computed before; report this")
    write_json(run_dir.root / "plan.json", plan_record(pipeline, run_dir, videos))
    packing = plan_packing(pipeline, run_dir, clips, videos)
    job = Job(config, run_dir.root, packing.plan_id)
    with Ahead(run_dir, config, uris_to_pack(run_dir, packing.plan_id, packing.tasks, videos)):
        packed = list(_track(progress, "pack", executor.shards(job, packing.tasks), len(packing.tasks)))
    failed = {**packing.failed, **{key: code for item in packed for key, code in item["failed"].items()}}
    clips = mark_failed(clips, failed)
    kept = clips.filter(pc.equal(clips["status"], STATUS_KEPT))["clip_id"].combine_chunks()
    packed += costs_of(run_dir, packing.commits, kept)
    write_text(run_dir.root / "config.yaml", config.to_yaml())
    write_table(run_dir.catalog("videos"), videos)
    write_table(run_dir.catalog("clips"), clips)
    write_json(
        run_dir.root / "metrics.json",
        _metrics(costs, packed, videos, package_versions() | ffmpeg_builds(config.media.ffmpeg)),
    )
    stats = rule_stats(clips, pipeline.clip_rules)
    ledger = balance(videos, clips)
    manifest = publish_packed(config, run_dir, packing, clips) if ledger.balances else None
    if manifest:
        remember_failures(run_dir, failed, packing.cut_id)
    write_report(run_dir.root)
    found = problems(ledger, stats)
    if not found:
        remove_other_parts(run_dir, parts, clip_files(pipeline, parts))
    return Curated(run_dir, ledger, stats, manifest, found)


def _scored(
    pipeline: Pipeline, run_dir: RunDir, executor: Executor, job: Job, parts: Sequence[Part]
) -> Iterator[CostsOf]:
    """Scan and model all parts; the first ones settle in which order the models of the others run."""
    if trial := trial_parts(pipeline, run_dir, parts):
        yield from executor.parts(job, trial)
        settle_order(pipeline, run_dir, trial)
    names = {part.name for part in trial}
    rest = [part for part in parts if part.name not in names]
    yield from executor.parts(replace(job, models=known_order(pipeline, run_dir)), rest)


def plan_record(pipeline: Pipeline, run_dir: RunDir, videos: pa.Table) -> dict[str, Any]:
    """What plan.json says: the plan id, the steps in the order in which they ran, and why in this order."""
    order = order_path(run_dir, pipeline)
    steps = pipeline.ordered(known_order(pipeline, run_dir)).steps()
    record = {"plan_id": make_plan_id(pipeline, videos), "steps": steps}
    return record | ({"model_order": read_json(order)} if order.is_file() else {})


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
    inputs = table_digest(videos.select(["uri", "sha256", "sidecar_caption", "licence"]))
    stages = [stage.identity() for stage in pipeline.stages]
    return digest([inputs, pipeline.config.data_config(), stages, ffmpeg_builds(pipeline.config.media.ffmpeg)])


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
