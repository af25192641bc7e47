"""What one worker process does: turn a part of the inputs into part files, and a shard task into a committed shard.

Both are idempotent: what lies complete in the run directory is not done again. The worker holds one safe child process
over many videos.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

import pyarrow as pa

from curate.config import CurateConfig
from curate.decision.early import judged
from curate.inputs.ingest import probe_row, unavailable_row
from curate.inputs.sources import Sources
from curate.inputs.uris import local_uri
from curate.media.twice import TwiceChild
from curate.pack import ShardTask, finished_record, pack_shard, packed_path
from curate.pipeline import Pipeline
from curate.rundir import Part, RunDir, read_json, write_json, write_table
from curate.scan import ScanResult, scan_video
from curate.scenes.segments import find_segments
from curate.settle import settled
from curate.stage import run_span_stages
from curate.tries import Tries
from shards.errors import MediaError
from shards.faults import reached
from shards.schema import CLIP, STATUS_FAILED, STATUS_OK, VIDEO, from_rows

T = TypeVar("T")

FRAMES_AT_ONCE = 256  # row group of the spool: who looks at a few frames does not load a part
FRAME = pa.schema([("video_id", pa.string()), ("pts", pa.int64()), ("jpeg", pa.binary())])


@dataclass
class Costs:
    """Measured costs of one item of work: CPU of this process and its child, wall time, frame counts."""

    steps: dict[str, dict[str, float]] = field(default_factory=dict)
    frames: dict[str, int] = field(default_factory=dict)

    def count(self, name: str, number: int) -> None:
        """Add to a frame count."""
        self.frames[name] = self.frames.get(name, 0) + number

    def as_json(self) -> dict[str, Any]:
        """For parts/costs."""
        return {"steps": self.steps, "frames": self.frames}


def join_costs(first: Mapping[str, Any], second: Mapping[str, Any]) -> Mapping[str, Any]:
    """Costs of two steps of one item, which share no step."""
    return {key: {**first[key], **second[key]} for key in ("steps", "frames")}


@dataclass(frozen=True)
class Job:
    """All that a worker must know, small enough to send anywhere."""

    config: CurateConfig
    root: Path
    plan_id: str = ""
    models: tuple[str, ...] = ()  # in the order in which they run; () for the configured one


class Worker(AbstractContextManager["Worker"]):
    """One process's hands: a safe child, a scratch folder, the pure stages."""

    def __init__(self, job: Job, name: str = "") -> None:
        """Name is the one by which `Tries` knows the process, if somebody watches over it."""
        self.job = job
        self.pipeline = Pipeline.of(job.config)
        self.run_dir = RunDir(job.root)
        self._scratch = self.run_dir.scratch()
        self.scratch = self._scratch.__enter__()
        self.child = TwiceChild(job.config.media, self.scratch)
        self.sources = Sources(self.run_dir, job.config)
        self.tries = Tries(self.run_dir, name)

    def __exit__(self, *_: object) -> None:
        self.close()

    def __enter__(self) -> Self:
        return self

    def close(self) -> None:
        """End the child and remove the scratch folder."""
        self.child.close()
        self._scratch.__exit__(None, None, None)

    def scan(self, part: Part) -> Mapping[str, Any]:
        """Probe, scan, find scenes and score one part; write its `frames`, `clips` and `videos` files, in this order.

        Returns:
            The part's costs: those measured now, or then if the part was finished before.
        """
        done = self.run_dir.costs("scan", part.name)
        if self.run_dir.part("videos", part.name).is_file() and done.is_file():
            return read_json(done)
        costs = Costs()
        before = self.child.usage.decoded_frames["probe"]
        clips, frames = [], []
        rows = [self._probe_and_scan(row, clips, frames, costs) for row in part.videos.to_pylist()]
        costs.count("decoded_keyframes", self.child.usage.decoded_frames["probe"] - before)
        write_table(
            self.run_dir.part("frames", part.name), pa.concat_tables([FRAME.empty_table(), *frames]), FRAMES_AT_ONCE
        )
        write_table(self.run_dir.part("clips", part.name), _concat(clips, self.pipeline))
        write_json(done, costs.as_json() | {"inputs": _input_states(part, rows)})
        write_table(self.run_dir.part("videos", part.name), from_rows(rows, VIDEO))
        return costs.as_json()

    def pack(self, task: ShardTask) -> Mapping[str, Any]:
        """Cut a shard's clips and commit it; returns what did not become a sample, and the costs, then or now."""
        if (done := finished_record(self.run_dir, self.job.plan_id, task.number)) is not None:
            return done
        costs = Costs()
        failed = self._timed(
            costs,
            "pack",
            lambda: pack_shard(task, self, costs.count),
        )
        record = {"failed": failed, "num_samples": len(task.clips) - len(failed), **costs.as_json()}
        write_json(packed_path(self.run_dir, self.job.plan_id, task.number), record)
        reached("pack-recorded")
        return record

    def _probe_and_scan(
        self, row: dict[str, Any], clips: list[pa.Table], frames: list[pa.Table], costs: Costs
    ) -> dict[str, Any]:
        """The finished row; its source is fetched, if it is remote, and held meanwhile."""
        if row["status"]:
            return row
        column = self.job.config.ingest.sha256_column
        with ExitStack() as held:
            try:
                held.enter_context(self.tries.of(row["uri"]))
                source = held.enter_context(self.sources.opened(row))
            except MediaError as error:
                return unavailable_row(row, error)
            row = self._timed(costs, "probe", lambda: probe_row(row, source, self.child, column))
            row = judged(row, self.pipeline.video_rules)
            if row["status"] == STATUS_OK:
                self._scan_one(row, source.path, clips, frames, costs)
        return row

    def _scan_one(
        self, row: dict[str, Any], path: Path, clips: list[pa.Table], frames: list[pa.Table], costs: Costs
    ) -> None:
        config = self.job.config
        local = row | {"uri": local_uri(path)}
        try:
            result = self._timed(costs, "scan", lambda: self._seen(local))
        except MediaError as error:
            row.update(
                status=STATUS_FAILED, error=error.code, error_detail=str(error).replace(local["uri"], row["uri"])
            )
            return
        with result:
            segments = self._timed(costs, "scenes", lambda: find_segments(result.scan, row, config.scenes))
            scored = self._timed(
                costs, "scores", lambda: run_span_stages(self.pipeline.span_stages, segments, result.scan)
            )
            row["num_frames"] = len(result.scan.pts_T)
            clips.append(scored)
            frames.append(result.frames)
            costs.count("decoded_scan", result.decoded_frames)
            costs.count("skipped_scan", result.skipped_frames)
            costs.count("unskippable_scan", result.counts["unskippable_frames"])

    def _seen(self, row: dict[str, Any]) -> ScanResult:
        config = self.job.config
        result = scan_video(self.child, row, self.scratch, config.scan)
        return settled(self.child, row, result, self.scratch, config.scan, config.scenes)

    def _timed(self, costs: Costs, step: str, work: Callable[[], T]) -> T:
        wall_s, cpu_s = time.perf_counter(), self._cpu_s()
        try:
            return work()
        finally:
            entry = costs.steps.setdefault(step, {"items": 0, "cpu_s": 0.0, "wall_s": 0.0})
            entry["items"] += 1
            entry["cpu_s"] += max(0.0, self._cpu_s() - cpu_s)
            entry["wall_s"] += time.perf_counter() - wall_s

    def _cpu_s(self) -> float:
        return time.process_time() + self.child.usage.cpu_s


def _input_states(part: Part, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What a later run must know of a part's inputs to find them again and to see whether their rows can stay."""
    pairs = zip(part.keys, rows, strict=True)
    names = ("uri", "video_id")
    return [
        {"key": key, **{name: row[name] for name in names}, "stopped": row["drop_rule"] is not None}
        for key, row in pairs
    ]


def _concat(clips: list[pa.Table], pipeline: Pipeline) -> pa.Table:
    schema = pa.schema([*CLIP, *(column for stage in pipeline.span_stages for column in stage.adds)])
    return pa.concat_tables([schema.empty_table(), *(table.select(schema.names).cast(schema) for table in clips)])
