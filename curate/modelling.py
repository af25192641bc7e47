"""The model stages over one part: weights once per process, batches cut inside the part and never by the executor.

A stage sees the clips that every rule before it lets through. The others keep their rows: its columns are null, and
their names stand in `not_scored`. When rules are loosened later, a rerun scores what has become missing and no more.
"""

import time
from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from curate.backfill import Earlier
from curate.columns import joined, with_column, words_of
from curate.decision.unscored import lacks, passes
from curate.models.frames import clip_frames
from curate.pipeline import Pipeline
from curate.rundir import RunDir, read_json, write_json, write_table
from curate.stage import SOURCE_COLUMNS, FrameStage
from curate.worker import Job
from shards.schema import SEGMENT_CLIP, VIDEO, strings

CLIPS_AT_ONCE = 64  # bounds the decoded frames in memory; a fixed number, so batches do not depend on the machine


class Models:
    """The frame stages of a job, or some of them, opened at the first part that needs them.

    Processes that hold different stages take a part one after the other, in the order of the stages.
    """

    def __init__(self, job: Job, only: Collection[str] | None = None) -> None:
        self.run_dir = RunDir(job.root)
        self.pipeline = Pipeline.of(job.config).ordered(job.models)
        self.stages = [stage for stage in self.pipeline.frame_stages if only is None or stage.name in only]
        self.gates = {stage.name: self.pipeline.gate(stage) for stage in self.stages}
        self.opened = False

    def again(self, job: Job) -> "Models":
        """For the same run with its models in another order; weights stay loaded."""
        other = Models(job)
        loaded = {stage.name: stage for stage in self.stages}
        other.stages = [loaded[stage.name] for stage in other.stages]
        other.opened = self.opened
        return other

    @cached_property
    def earlier(self) -> Earlier:
        """What other configurations computed in this run directory."""
        return Earlier(self.run_dir, self.pipeline)

    def name_of(self, part_name: str) -> str:
        """Name of the part's file of model columns."""
        return models_name(part_name, self.pipeline)

    def run(self, part_name: str) -> Mapping[str, Any]:
        """Write one part's `models` file: all columns of its clips, the models' included; returns the costs.

        Of a file that is there, only clips are scored that lack scores and that the rules let through now.
        """
        name = self.name_of(part_name)
        done, costs_path = self.run_dir.part("models", name), self.run_dir.costs("models", name)
        before = read_json(costs_path) if done.is_file() and costs_path.is_file() else None
        if before is not None and not len(self._missing(pq.read_table(done, columns=self._gate_columns))):
            return before
        costs: dict[str, dict[str, float]] = before["steps"] if before is not None else {}
        if before is None:
            clips = self.earlier.taken_over(part_name, name, self._unscored(part_name), costs)
        else:
            clips = pq.read_table(done)
        clips = self._score(part_name, clips, costs)
        result = {"steps": costs, "frames": {}, "keys": self.earlier.keys}
        write_json(costs_path, result)
        write_table(done, clips)
        return result

    @property
    def _gate_columns(self) -> list[str]:
        """What says which clips are still to be scored."""
        own = [name for gate in self.gates.values() for rule in gate for name in rule.columns]
        return list(dict.fromkeys(["segment", "not_scored", *own]))

    def _missing(self, clips: pa.Table) -> np.ndarray:
        """Rows that lack columns of a stage whose gate they pass."""
        missing_N = np.zeros(len(clips), bool)
        for stage in self.stages:
            missing_N |= self._due(stage, clips)
        return np.flatnonzero(missing_N)

    def _due(self, stage: FrameStage, clips: pa.Table) -> np.ndarray:
        return lacks(clips, stage.adds.names) & passes(clips, self.gates[stage.name])

    def _unscored(self, part_name: str) -> pa.Table:
        """The part's clips, with columns of all models that hold nothing yet."""
        clips = pq.read_table(self.run_dir.part("clips", part_name))
        names = []
        for field in (field for stage in self.pipeline.configured_models for field in stage.adds):
            clips = clips.append_column(field, pa.nulls(len(clips), field.type))
            names.append(field.name)
        cell = ";".join(names)
        cells = [cell if segment == SEGMENT_CLIP else None for segment in strings(clips, "segment")]
        return with_column(clips, "not_scored", pa.array(cells, pa.string()))

    def _score(self, part_name: str, clips: pa.Table, costs: dict[str, dict[str, float]]) -> pa.Table:
        rows = self._missing(clips)
        for stage in self.stages:
            costs.setdefault(stage.name, {"items": 0, "cpu_s": 0.0, "wall_s": 0.0})
        if not len(rows):
            return clips
        if not self.opened:
            for stage in self.stages:
                stage.open()
            self.opened = True
        spool = pads.dataset(self.run_dir.part("frames", part_name))
        wanted = self._with_sources(part_name, clips.take(rows))
        # By place in the part, so that who else is due, and which process holds which stage, has no say in a batch.
        ends = np.flatnonzero(np.diff(rows // CLIPS_AT_ONCE, append=-1)) + 1
        pieces = [
            self._run_stages(wanted.slice(start, end - start), spool, costs)
            for start, end in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True)
        ]
        return _replaced(clips, rows, pa.concat_tables(pieces).select(clips.column_names))

    def _with_sources(self, part_name: str, clips: pa.Table) -> pa.Table:
        """Clips of the part, each with what model stages may read of its source."""
        videos = pq.read_table(self.run_dir.part("videos", part_name)).to_pylist()
        source_of = {row["video_id"]: row for row in reversed(videos)}  # of one file at two uris, the first
        rows = [source_of[video_id] for video_id in clips["video_id"].to_pylist()]
        for name in SOURCE_COLUMNS:
            clips = clips.append_column(VIDEO.field(name), pa.array([row[name] for row in rows], type=pa.string()))
        return clips

    def _run_stages(self, clips: pa.Table, spool: pads.Dataset, costs: dict[str, dict[str, float]]) -> pa.Table:
        frames = clip_frames(clips, spool.to_table(filter=_within(clips)))
        for stage in self.stages:
            rows = np.flatnonzero(self._due(stage, clips))
            if not len(rows):
                continue
            wall_s, cpu = time.perf_counter(), psutil.Process().cpu_times()
            own = clips.take(rows).drop_columns(stage.adds.names)
            scored = stage.run(own, [frames[row] for row in rows.tolist()])
            clips = _replaced(clips, rows, _marked(scored, stage).select(clips.column_names))
            cpu_after = psutil.Process().cpu_times()
            entry = costs[stage.name]
            entry["items"] += len(rows)
            entry["cpu_s"] += cpu_after.user + cpu_after.system - cpu.user - cpu.system
            entry["wall_s"] += time.perf_counter() - wall_s
        return clips


def models_name(part_name: str, pipeline: Pipeline) -> str:
    """Name of a part's file of model columns: other weights or options, another name."""
    return f"{part_name}-{pipeline.model_identity[:8]}"


def _marked(scored: pa.Table, stage: FrameStage) -> pa.Table:
    """Rows of a stage, whose columns they lack no longer."""
    cells = [
        joined(name for name in words_of(cell) if name not in stage.adds.names)
        for cell in strings(scored, "not_scored")
    ]
    return with_column(scored, "not_scored", pa.array(cells, pa.string()))


def _replaced(table: pa.Table, rows: np.ndarray, by: pa.Table) -> pa.Table:
    """The table with other values in some rows."""
    order = np.arange(len(table))
    order[rows] = len(table) + np.arange(len(rows))
    return pa.concat_tables([table, by.cast(table.schema)]).take(order).combine_chunks()


def _within(clips: pa.Table) -> pc.Expression:
    """The spooled frames of these clips and no others: memory does not grow with the video."""
    spans: list[tuple[str, int, int]] = []
    for row in clips.select(["video_id", "start_pts", "end_pts"]).to_pylist():
        video_id, first, last = row.values()
        if spans and spans[-1][0] == video_id and spans[-1][2] == first:
            video_id, first, _ = spans.pop()
        spans.append((video_id, first, last))
    within = pc.scalar(False)
    for video_id, first, last in spans:
        pts = pc.field("pts")
        within = within | ((pc.field("video_id") == video_id) & (pts >= first) & (pts < last))
    return within
