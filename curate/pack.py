"""Kept rows to shard tasks (pure), and one shard task to a committed shard (in a worker)."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from curate.clips.cut import CutConfig, CutResult, cut_clip
from curate.inputs.ingest import local_path
from curate.media.child import MediaChild
from curate.rundir import RunDir, read_json
from shards.commit import PLAN_DIGITS, commit_shard, read_commit
from shards.config import Config
from shards.errors import ClipError
from shards.index import ROW
from shards.schema import CLIP, DECISION, SAMPLE, STATUS_FAILED, STATUS_KEPT, strings

if TYPE_CHECKING:
    from curate.worker import Job


CUT_CODE = "cut:"  # begins the code of a clip that was decided for and could not be cut


class PackConfig(Config):
    """How kept clips become shards."""

    samples_per_shard: int = Field(default=256, ge=1, description="Most samples in a shard.")
    shard_bytes: int = Field(
        default=256 << 20, gt=0, description="A shard is closed when its sources' share reaches this size."
    )
    frame_buckets: tuple[int, ...] = Field(
        default=(1, 8, 16, 32, 64, 128, 256, 512),
        description="Frame counts that buckets are named by; a clip goes to the floor.",
    )


@dataclass(frozen=True)
class ShardTask:
    """What one shard is made of.

    Attributes:
        number: of the shard within the plan.
        bucket: folder of the shard, `<frames>x<height>x<width>`.
        clips: rows of the catalog, kept, in the order of the shard.
        videos: video_id -> row of VIDEO, for the clips' sources.
    """

    number: int
    bucket: str
    clips: pa.Table
    videos: Mapping[str, dict[str, Any]]


def plan_shards(clips: pa.Table, videos: pa.Table, config: PackConfig, cut: CutConfig) -> list[ShardTask]:
    """Group the kept clips by bucket and cut each group into shards; a pure function of its arguments."""
    sources = {row["video_id"]: row for row in videos.to_pylist() if row["status"] == "ok"}
    kept = np.flatnonzero(clips["status"].to_numpy() == STATUS_KEPT)
    rows = clips.take(kept).select(["clip_id", "video_id", "start_pts", "end_pts", "num_frames"]).to_pylist()
    order = sorted(
        (bucket_name(row["num_frames"], cut.output_size(sources[row["video_id"]]), config), row["clip_id"], index)
        for index, row in enumerate(rows)
    )
    tasks: list[ShardTask] = []
    group: list[int] = []
    group_bytes = 0.0
    for position, (bucket, _, index) in enumerate(order):
        group.append(index)
        group_bytes += _share_bytes(rows[index], sources[rows[index]["video_id"]])
        ends = position + 1 == len(order) or order[position + 1][0] != bucket
        if ends or len(group) == config.samples_per_shard or group_bytes >= config.shard_bytes:
            table = clips.take(kept[group])
            own = {video_id: sources[video_id] for video_id in sorted(set(strings(table, "video_id")))}
            tasks.append(ShardTask(len(tasks), bucket, table, own))
            group, group_bytes = [], 0.0
    return tasks


def bucket_name(num_frames: int, size_hw: tuple[int, int], config: PackConfig) -> str:
    """Bucket of a clip: floor of its frame count in `frame_buckets`, displayed height and width in px."""
    floor = max((frames for frames in config.frame_buckets if frames <= num_frames), default=num_frames)
    return f"{floor}x{size_hw[0]}x{size_hw[1]}"


def pack_shard(
    task: ShardTask, job: "Job", run_dir: RunDir, child: MediaChild, scratch: Path, count: Callable[[str, int], None]
) -> dict[str, str]:
    """Cut and verify every clip of a task, commit the shard of those that could be cut.

    Returns:
        clip_id -> code of the clips that could not be cut exactly: they are failed, not lost.
    """
    failed: dict[str, str] = {}
    samples: list[dict[str, Any]] = []
    scores = score_fields(task.clips.schema)
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        files: list[Mapping[str, bytes | Path]] = []
        for clip in task.clips.to_pylist():
            video = task.videos[clip["video_id"]]
            path = Path(folder) / f"{clip['clip_id']}.mp4"
            try:
                result = cut_clip(child, local_path(video["uri"]), video, clip, path, job.config.cut)
            except ClipError as error:
                failed[clip["clip_id"]] = f"{CUT_CODE}{error.code}"
                continue
            count("encoded", result.encoded_frames)
            reason = f" ({result.fallback})" if result.fallback else ""
            count(f"published_{result.mode}{reason}", result.num_frames)
            count("decoded_verify", result.decoded_frames)
            samples.append(sample_row(clip, video, result) | {field.name: clip[field.name] for field in scores})
            files.append({"mp4": result.path})
        if samples:
            table = pa.Table.from_pylist(samples, schema=pa.schema([*ROW, *scores]))
            commit_shard(run_dir.dataset, job.plan_id, task.number, task.bucket, table, files, scratch)
    return failed


def packed_path(run_dir: RunDir, plan_id: str, number: int) -> Path:
    """Where the record of a packed task lies: what failed in it, its samples, its costs."""
    return run_dir.root / "parts" / "packed" / f"{plan_id[:PLAN_DIGITS]}-{number:06d}.json"


def packed_record(run_dir: RunDir, plan_id: str, number: int) -> dict[str, Any]:
    """The record of a packed task."""
    return read_json(packed_path(run_dir, plan_id, number))


def is_packed(run_dir: RunDir, plan_id: str, number: int) -> bool:
    """Whether a task is done: its record is there, and so is its shard unless no clip could be cut."""
    if not packed_path(run_dir, plan_id, number).is_file():
        return False
    samples = packed_record(run_dir, plan_id, number)["num_samples"]
    return not samples or read_commit(run_dir.dataset, plan_id, number) is not None


def sample_row(clip: Mapping[str, Any], video: Mapping[str, Any], result: CutResult) -> dict[str, Any]:
    """What the index says of a sample, without its place in the shard and without scores."""
    duration_s = (clip["end_pts"] - clip["start_pts"]) * Fraction(clip["time_base_num"], clip["time_base_den"])
    own = {name: getattr(result, name) for name in ROW.names if hasattr(result, name)}
    return own | {
        "key": clip["clip_id"],
        "cut_mode": result.mode,
        "duration_s": float(duration_s),
        "caption": clip["caption"],
        "caption_source": clip["caption_source"],
        "video_id": clip["video_id"],
        "source_uri": video["uri"],
        "source_sha256": video["sha256"],
        "source_start_pts": clip["start_pts"],
        "source_end_pts": clip["end_pts"],
        "source_time_base_num": clip["time_base_num"],
        "source_time_base_den": clip["time_base_den"],
        "dup_group": clip["dup_group"],
        "licence": video["licence"],
    }


def score_fields(schema: pa.Schema) -> list[pa.Field]:
    """The columns that stages added and that SAMPLE does not name: they go into the index as they are."""
    known = {*CLIP.names, *DECISION.names, *SAMPLE.names}
    return [field for field in schema if field.name not in known]


def mark_failed(clips: pa.Table, failed: Mapping[str, str]) -> pa.Table:
    """The catalog with clips that could not be cut as failed, their code in `error` and `drop_rule`."""
    rows = clips.select(["clip_id", "status", "drop_rule", "error"]).to_pylist()
    for row in rows:
        code = failed.get(row["clip_id"])
        if code:
            codes = dict.fromkeys([*(row["error"] or "").split(";"), code])
            row.update(status=STATUS_FAILED, drop_rule=code, error=";".join(filter(None, codes)))
    for name in ("status", "drop_rule", "error"):
        index = clips.column_names.index(name)
        values: Sequence[str | None] = [row[name] for row in rows]
        clips = clips.set_column(index, clips.schema.field(index), pa.array(values, type=pa.string()))
    return clips


def _share_bytes(clip: Mapping[str, Any], video: Mapping[str, Any]) -> float:
    """Bytes of the source that fall on a clip, by time: what a copy of it will weigh, about."""
    span_pts = max(1, video["end_pts"] - video["start_pts"])
    return video["size_bytes"] * (clip["end_pts"] - clip["start_pts"]) / span_pts
