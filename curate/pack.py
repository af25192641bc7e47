"""Kept rows to shard tasks (pure), and one shard task to a committed shard (in a worker)."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute
from pydantic import Field

from curate.clips.cut import CutConfig, CutResult, cut_clip, most_frames, shape_of
from curate.clips.encoders import EncodeConfig
from curate.clips.picture_size import BORDERS
from curate.columns import joined, with_column, words_of
from curate.rundir import RunDir, read_json
from shards.config import Config
from shards.errors import ClipError
from shards.faults import reached
from shards.format.commit import PLAN_DIGITS, commit_shard, read_commit
from shards.format.index import ROW
from shards.schema import CLIP, DECISION, SAMPLE, STATUS_FAILED, STATUS_KEPT, STATUS_OK

if TYPE_CHECKING:
    from curate.worker import Worker

pc: Any = pyarrow.compute  # its stubs refuse the plain values that the functions take

_SIZE_COLUMNS = ["width", "height", "rotation_deg", "sar_num", "sar_den"]  # what the size of a clip depends on
_BUCKET_ORDER = [("bucket", "ascending"), ("clip_id", "ascending")]
_BETWEEN = "/"  # buckets of one clip in several datasets; no bucket has it in its name
CROPPED_COLUMNS = (*BORDERS, "border_share")  # what is said of clips whose borders were cut off: they have none
PUBLISHED = "published_"  # begins the counts of frames that a player of the dataset sees
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
        buckets: folder of the shard, `<frames>x<height>x<width>`, in each of the datasets that `cut.targets` names.
        clips: rows of the catalog, kept, in the order of the shard.
        videos: video_id -> row of VIDEO, for the clips' sources.
    """

    number: int
    buckets: Mapping[str | None, str]
    clips: pa.Table
    videos: Mapping[str, dict[str, Any]]

    @property
    def bucket(self) -> str:
        """Of the shard in `dataset`."""
        return self.buckets[None]


class ShardPlan(Sequence[ShardTask]):
    """The shards to pack, each made of the tables when it is asked for: no row is a Python object before its turn."""

    def __init__(
        self, clips: pa.Table, videos: pa.Table, buckets: Sequence[Mapping[str | None, str]], ends: Sequence[int]
    ) -> None:
        self._clips, self._videos, self._buckets, self._ends = clips, videos, buckets, ends

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> ShardTask: ...
    @overload
    def __getitem__(self, index: slice) -> list[ShardTask]: ...
    def __getitem__(self, index: int | slice) -> ShardTask | list[ShardTask]:
        """A task with its own copy of its rows: a slice would be sent as the whole table."""
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        first = self._ends[index - 1] if index else 0
        clips = self._clips.take(np.arange(first, self._ends[index]))
        ids = pc.unique(clips["video_id"])
        rows = self._videos.take(pc.index_in(ids, value_set=self._videos["video_id"].combine_chunks())).to_pylist()
        return ShardTask(index, self._buckets[index], clips, {row["video_id"]: row for row in rows})


def plan_shards(clips: pa.Table, videos: pa.Table, config: PackConfig, cut: CutConfig) -> ShardPlan:
    """Group the kept clips by bucket and cut each group into shards; a pure function of its arguments."""
    videos = videos.filter(pc.equal(videos["status"], STATUS_OK))
    clips = clips.filter(pc.equal(clips["status"], STATUS_KEPT))
    if not len(clips):
        return ShardPlan(clips, videos, [], [])
    rows = pc.index_in(clips["video_id"].combine_chunks(), value_set=videos["video_id"].combine_chunks()).to_numpy()
    datasets = list(cut.targets)
    columns: list[Any] = [_buckets(clips, videos, rows, config, target) for target in cut.targets.values()]
    buckets: Any = pc.binary_join_element_wise(*columns, _BETWEEN)
    order = pc.sort_indices(pa.table([buckets, clips["clip_id"]], ["bucket", "clip_id"]), _BUCKET_ORDER).to_numpy()
    clips, names = clips.take(order), buckets.take(order)
    codes, weights = names.dictionary_encode().indices.to_numpy(), _share_bytes(clips, videos, rows[order])
    ends = _shard_ends(codes.tolist(), weights.tolist(), config)
    of_shard = [dict(zip(datasets, names[end - 1].as_py().split(_BETWEEN), strict=True)) for end in ends]
    return ShardPlan(clips, videos, of_shard, ends)


def _shard_ends(codes: Sequence[int], weights: Sequence[float], config: PackConfig) -> list[int]:
    """Past the last row of each shard: a bucket's end, the number of samples or the bytes close it."""
    ends: list[int] = []
    group, group_bytes = 0, 0.0
    for row, (code, weight) in enumerate(zip(codes, weights, strict=True), start=1):
        group, group_bytes = group + 1, group_bytes + weight
        is_last = row == len(codes) or codes[row] != code
        if is_last or group == config.samples_per_shard or group_bytes >= config.shard_bytes:
            ends.append(row)
            group, group_bytes = 0, 0.0
    return ends


def _buckets(clips: pa.Table, videos: pa.Table, rows: np.ndarray, config: PackConfig, target: EncodeConfig) -> Any:
    """Bucket of each clip; it is computed once for all clips that look alike."""
    facts: dict[str, Any] = {name: videos[name].take(rows) for name in _SIZE_COLUMNS} | {
        "num_frames": clips["num_frames"]
    }
    if target.crop != "none":
        facts |= {name: clips[name] for name in BORDERS}
    if target.rate is not None:
        length = pc.subtract(clips["end_pts"], clips["start_pts"])
        facts |= {"length": length, **{name: clips[name] for name in ("time_base_num", "time_base_den")}}
    table = pa.table(facts)
    alike = table.append_column("row", pa.array(np.arange(len(table)))).group_by(table.column_names)
    kinds = alike.aggregate([("row", "list")])
    names = [_bucket(kind, config, target) for kind in kinds.select(table.column_names).to_pylist()]
    lists: Any = kinds["row_list"].combine_chunks()
    where = np.empty(len(table), np.int64)
    where[lists.flatten().to_numpy()] = np.repeat(np.arange(len(names)), lists.value_lengths().to_numpy())
    return pa.array(names, pa.string()).take(pa.array(where, pa.int64()))


def _bucket(facts: Mapping[str, Any], config: PackConfig, target: EncodeConfig) -> str:
    num_frames = facts["num_frames"]
    if target.rate is not None:
        duration_s = facts["length"] * Fraction(facts["time_base_num"], facts["time_base_den"])
        num_frames = most_frames(target, num_frames, duration_s)
    return bucket_name(num_frames, shape_of(target, facts, facts)[0], config)


def bucket_name(num_frames: int, size_hw: tuple[int, int], config: PackConfig) -> str:
    """Bucket of a clip: floor of its frame count in `frame_buckets`, displayed height and width in px."""
    floor = max((frames for frames in config.frame_buckets if frames <= num_frames), default=num_frames)
    return f"{floor}x{size_hw[0]}x{size_hw[1]}"


def pack_shard(task: ShardTask, worker: "Worker", count: Callable[[str, int], None]) -> dict[str, str]:
    """Cut and verify every clip of a task, commit the shards of those that could be cut, that of `dataset` last.

    Returns:
        clip_id -> code of the clips that could not be cut exactly: they are failed, not lost.
    """
    failed: dict[str, str] = {}
    rows = task.clips.to_pylist()
    with tempfile.TemporaryDirectory(dir=worker.scratch) as folder:
        results: dict[str, CutResult] = {}
        # Source by source, so that a remote one is fetched once; the shards have the task's order.
        for video_id, clips in groupby(sorted(rows, key=_video_of), key=_video_of):
            for clip_id, result in _cut_source(task.videos[video_id], list(clips), worker, Path(folder)):
                if isinstance(result, ClipError):
                    failed[clip_id] = f"{CUT_CODE}{result.code}"
                    continue
                _count(result, count)
                results[clip_id] = result
                reached("pack-clip")
        cut = [
            (clip, task.videos[clip["video_id"]], results[clip["clip_id"]])
            for clip in rows
            if clip["clip_id"] in results
        ]
        if cut:
            for name in list(task.buckets)[::-1]:
                _commit(name, task, cut, worker)
            reached("pack-committed")
    return failed


def _cut_source(
    video: Mapping[str, Any],
    clips: Sequence[dict[str, Any]],
    worker: "Worker",
    folder: Path,
) -> Iterator[tuple[str, CutResult | ClipError]]:
    """Each clip of one source, cut, or the reason why it is not."""
    with ExitStack() as held:
        try:
            held.enter_context(worker.tries.of(video["uri"]))
            source = held.enter_context(worker.sources.opened(video)).path
        except ClipError as error:
            yield from ((clip["clip_id"], error) for clip in clips)
            return
        for clip in clips:
            path = folder / f"{clip['clip_id']}.mp4"
            try:
                yield clip["clip_id"], cut_clip(worker.child, source, video, clip, path, worker.job.config.cut)
            except ClipError as error:
                yield clip["clip_id"], error


def _video_of(clip: Mapping[str, Any]) -> str:
    return clip["video_id"]


def _count(result: CutResult, count: Callable[[str, int], None]) -> None:
    """Frames that were decoded and encoded for a clip, by dataset if there are several."""
    reason = f" ({result.fallback})" if result.fallback else ""
    count(f"{PUBLISHED}{result.mode}{reason}", result.num_frames)
    count("decoded_verify", result.decoded_frames)
    count("encoded", result.encoded_frames + sum(other.encoded_frames for other in result.also.values()))
    if result.also:
        count("encoded_for dataset", result.encoded_frames)
    for name, other in result.also.items():
        count(f"encoded_for dataset-{name}", other.encoded_frames)


def _commit(
    name: str | None,
    task: ShardTask,
    cut: Sequence[tuple[dict[str, Any], dict[str, Any], CutResult]],
    worker: "Worker",
) -> None:
    """Make a task's shard in one of its datasets."""
    scores = score_fields(task.clips.schema)
    job = worker.job
    is_cropped = job.config.cut.targets[name].crop != "none" and job.config.cut.mode == "encode"
    samples, files = [], []
    for clip, video, first in cut:
        result = first.also[name] if name else first
        values = {field.name: clip[field.name] for field in scores}
        if is_cropped:  # else a reader that crops by these columns would do so twice
            values |= {column: 0.0 for column in CROPPED_COLUMNS if values.get(column) is not None}
        samples.append(sample_row(clip, video, result) | values)
        files.append({"mp4": result.path})
    table = pa.Table.from_pylist(samples, schema=pa.schema([*ROW, *scores]))
    dataset, bucket = worker.run_dir.dataset_of(name), task.buckets[name]
    commit_shard(dataset, job.plan_id, task.number, bucket, table, files, worker.scratch)


def packed_path(run_dir: RunDir, plan_id: str, number: int) -> Path:
    """Where the record of a packed task lies: what failed in it, its samples, its costs."""
    return run_dir.root / "parts" / "packed" / f"{plan_id[:PLAN_DIGITS]}-{number:06d}.json"


def packed_record(run_dir: RunDir, plan_id: str, number: int) -> dict[str, Any] | None:
    """The record of a packed task; None if it was not packed here."""
    path = packed_path(run_dir, plan_id, number)
    return read_json(path) if path.is_file() else None


def finished_record(run_dir: RunDir, plan_id: str, number: int) -> dict[str, Any] | None:
    """The record of a task that is done: it is there, and so is its shard unless no clip could be cut."""
    record = packed_record(run_dir, plan_id, number)
    if record and record["num_samples"] and read_commit(run_dir.dataset, plan_id, number) is None:
        return None
    return record


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
    is_failed = pc.is_in(clips["clip_id"].combine_chunks(), value_set=pa.array(list(failed), pa.string()))
    rows = clips.filter(is_failed).select(["clip_id", "error"]).to_pylist()
    codes = [failed[row["clip_id"]] for row in rows]
    pairs = zip(rows, codes, strict=True)
    errors = [joined([*words_of(row["error"]), code]) for row, code in pairs]
    for name, values in (("status", [STATUS_FAILED] * len(rows)), ("drop_rule", codes), ("error", errors)):
        column = pc.replace_with_mask(clips[name].combine_chunks(), is_failed, pa.array(values, pa.string()))
        clips = with_column(clips, name, column)
    return clips


def _share_bytes(clips: pa.Table, videos: pa.Table, rows: np.ndarray) -> np.ndarray:
    """Bytes of the source that fall on each clip, by time: what a copy of it will weigh, about."""
    start, end, size = (videos[name].to_numpy()[rows] for name in ("start_pts", "end_pts", "size_bytes"))
    return size * (clips["end_pts"].to_numpy() - clips["start_pts"].to_numpy()) / np.maximum(1, end - start)
