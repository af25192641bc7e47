"""The model stages over one part: weights once per process, batches cut inside the part and never by the executor."""

import time
from collections.abc import Mapping
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from curate.models.frames import clip_frames
from curate.pipeline import Pipeline
from curate.rundir import RunDir, read_json, write_json, write_table
from curate.stage import SOURCE_COLUMNS
from curate.worker import Job
from shards.ids import digest
from shards.schema import VIDEO

CLIPS_AT_ONCE = 64  # bounds the decoded frames in memory; a fixed number, so batches do not depend on the machine


class Models:
    """All frame stages of a job, opened at the first part that needs them."""

    def __init__(self, job: Job) -> None:
        self.run_dir = RunDir(job.root)
        self.pipeline = Pipeline.of(job.config)
        self.opened = False

    def name_of(self, part_name: str) -> str:
        """Name of the part's file of model columns: other weights or options, another name."""
        return f"{part_name}-{self.pipeline.model_identity[:8]}"

    def run(self, part_name: str) -> Mapping[str, Any]:
        """Write one part's `models` file: all columns of its clips, the models' included; returns the costs."""
        name = self.name_of(part_name)
        done, costs_path = self.run_dir.part("models", name), self.run_dir.costs("models", name)
        if done.is_file() and costs_path.is_file():
            return read_json(costs_path)
        if not self.opened:
            for stage in self.pipeline.frame_stages:
                stage.open()
            self.opened = True
        clips = self._with_sources(part_name)
        spool = pads.dataset(self.run_dir.part("frames", part_name))
        costs: dict[str, dict[str, float]] = {}
        pieces = [
            self._run_stages(clips.slice(start, CLIPS_AT_ONCE), spool, costs)
            for start in range(0, max(len(clips), 1), CLIPS_AT_ONCE)
        ]
        result = {"steps": costs, "frames": {}}
        write_json(costs_path, result)
        write_table(done, pa.concat_tables(pieces).drop_columns(list(SOURCE_COLUMNS)))
        return result

    def _with_sources(self, part_name: str) -> pa.Table:
        """The part's clips, each with what model stages may read of its source."""
        clips = pq.read_table(self.run_dir.part("clips", part_name))
        videos = pq.read_table(self.run_dir.part("videos", part_name)).to_pylist()
        source_of = {row["video_id"]: row for row in reversed(videos)}  # of one file at two uris, the first
        rows = [source_of[video_id] for video_id in clips["video_id"].to_pylist()]
        for name in SOURCE_COLUMNS:
            clips = clips.append_column(VIDEO.field(name), pa.array([row[name] for row in rows], type=pa.string()))
        return clips

    def _run_stages(self, clips: pa.Table, spool: pads.Dataset, costs: dict[str, dict[str, float]]) -> pa.Table:
        own_frames = clip_frames(clips, spool.to_table(filter=_within(clips)))
        for stage in self.pipeline.frame_stages:
            wall_s, cpu = time.perf_counter(), psutil.Process().cpu_times()
            clips = stage.run(clips, own_frames)
            cpu_after = psutil.Process().cpu_times()
            entry = costs.setdefault(stage.name, {"items": 0, "cpu_s": 0.0, "wall_s": 0.0})
            entry["items"] += len(clips)
            entry["cpu_s"] += cpu_after.user + cpu_after.system - cpu.user - cpu.system
            entry["wall_s"] += time.perf_counter() - wall_s
        return clips


def _within(clips: pa.Table) -> pc.Expression:
    """The spooled frames of these clips and no others: memory does not grow with the video."""
    spans: dict[str, tuple[int, int]] = {}
    for row in clips.select(["video_id", "start_pts", "end_pts"]).to_pylist():
        first, last = spans.get(row["video_id"], (row["start_pts"], row["end_pts"]))
        spans[row["video_id"]] = min(first, row["start_pts"]), max(last, row["end_pts"])
    within = pc.scalar(False)
    for video_id, (first, last) in spans.items():
        pts = pc.field("pts")
        within = within | ((pc.field("video_id") == video_id) & (pts >= first) & (pts < last))
    return within


def part_key(rows: list[dict[str, Any]], identity: str) -> str:
    """Key of a part: its inputs (uri, size, time of change) and what the scan's rows depend on."""
    return digest([rows, identity])[:12]
