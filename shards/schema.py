"""Every column that crosses a border, declared once: name, type, unit, meaning.

`VIDEO` is one row per input uri, `CLIP` one row per segment of a video (segments partition the video's span, so nothing
vanishes), `SAMPLE` one row per published sample of video (`sample_schema`: of any members). Stages declare the score
columns they add with the same `column`. A value that could not be computed is null and its code stands in `error`;
there are no sentinels.
"""

from collections.abc import Collection, Iterable, Sequence
from fractions import Fraction
from typing import Any

import pyarrow as pa

from shards.errors import ContractError
from shards.format.tar import SUFFIXES


def column(name: str, dtype: pa.DataType, unit: str, doc: str) -> pa.Field:
    """A field that carries its unit ("" for none) and its meaning."""
    return pa.field(name, dtype, metadata={"unit": unit, "doc": doc})


STATUS_OK, STATUS_FAILED, STATUS_REJECTED, STATUS_KEPT = "ok", "failed", "rejected", "kept"
STATUS_UNSCORED = "unscored"  # of rules tried late: open until a run computes what was not needed before
ADOPTED = "adopted"  # cut_mode of samples whose whole tar was taken over
SEGMENT_CLIP = "clip"  # every other value of CLIP.segment is the reason why a segment is no candidate

_SPAN = [
    column("start_pts", pa.int64(), "time_base", "First frame, inclusive."),
    column("end_pts", pa.int64(), "time_base", "Past the last frame, exclusive."),
    column("time_base_num", pa.int64(), "s", "Numerator of the stream's time base."),
    column("time_base_den", pa.int64(), "1/s", "Denominator of the stream's time base."),
]

_PICTURE = [
    column("codec", pa.string(), "", "FFmpeg's name of the codec."),
    column("width", pa.int32(), "px", "Coded width, before rotation and sample aspect ratio."),
    column("height", pa.int32(), "px", "Coded height, before rotation and sample aspect ratio."),
    column("rotation_deg", pa.int32(), "deg", "Counter-clockwise turn to upright: 0, 90, 180, 270."),
    column("sar_num", pa.int32(), "", "Numerator of the sample aspect ratio, 1 if unknown."),
    column("sar_den", pa.int32(), "", "Denominator of the sample aspect ratio, 1 if unknown."),
    column("pix_fmt", pa.string(), "", "FFmpeg's name of the pixel format."),
    column("color_transfer", pa.string(), "", "Transfer characteristic (bt709, smpte2084, …) or unknown."),
]

VIDEO = pa.schema(
    [
        column("uri", pa.string(), "", "The input as given, made absolute for local files; one row per uri."),
        column("video_id", pa.string(), "", "First 16 hex digits of the content's sha256; null if unreadable."),
        column("sha256", pa.string(), "", "Sha256 of the whole file."),
        column("size_bytes", pa.int64(), "B", "Size of the file."),
        column("container", pa.string(), "", "FFmpeg's name of the demuxer."),
        column("stream_index", pa.int32(), "", "Index of the chosen video stream in the container."),
        column("num_video_streams", pa.int32(), "", "Video streams in the container, cover pictures not counted."),
        *_PICTURE,
        column("interlaced", pa.bool_(), "", "The stream declares interlaced fields; null if unknown."),
        column("has_audio", pa.bool_(), "", "The container has an audio stream."),
        column("rate_num", pa.int64(), "frames/s", "Numerator of the average frame rate."),
        column("rate_den", pa.int64(), "", "Denominator of the average frame rate."),
        column("is_vfr", pa.bool_(), "", "Packet distances differ by more than rounding of the time base."),
        *_SPAN,
        column("num_packets", pa.int64(), "frames", "Demuxed video packets that carry a frame."),
        column("num_frames", pa.int64(), "frames", "Frames that the scan decoded; null before the scan."),
        column("key_luma_mean", pa.float32(), "levels", "Mean luma of the decoded key frames, 0 to 255."),
        column("key_luma_std", pa.float32(), "levels", "Standard deviation of luma within key frames, their maximum."),
        column("key_change", pa.float32(), "levels", "Largest mean luma difference between key frames; null if one."),
        column("sidecar_caption", pa.string(), "", "Caption that came with the input (list column or .txt beside it)."),
        column("licence", pa.string(), "", "Licence that came with the input."),
        column("provenance", pa.string(), "", "JSON object of all further columns that came with the input."),
        column("status", pa.string(), "", "ok, rejected (see drop_rule) or failed (see error)."),
        column("drop_rule", pa.string(), "", "Rule that rejected the whole video, e.g. exact_duplicate."),
        column("error", pa.string(), "", "Stable code of the failure."),
        column("error_detail", pa.string(), "", "For people: what the tool said. Attacker-controlled text."),
    ]
)

CLIP = pa.schema(
    [
        column("clip_id", pa.string(), "", "16 hex digits of sha256(video_id, stream, start_pts, end_pts)."),
        column("video_id", pa.string(), "", "The video this is a segment of."),
        column("stream_index", pa.int32(), "", "Stream of the video."),
        *_SPAN,
        column("num_frames", pa.int32(), "frames", "Frames with start_pts <= pts < end_pts."),
        column("segment", pa.string(), "", "clip, or why it is none: fade, dissolve, wipe, too_short, undecoded."),
        column("start_kind", pa.string(), "", "What begins it: start, cut, fade, dissolve, wipe, limit, undecoded."),
        column("end_kind", pa.string(), "", "What ends it: end, cut, fade, dissolve, wipe, limit, undecoded."),
        column("cut_confidence", pa.float32(), "", "Of the cut at start_pts, 0 to 1; null at start, limit, undecoded."),
        column("error", pa.string(), "", "Codes of scores that are null: `stage:code`, joined by `;`; null if none."),
        column(
            "not_scored", pa.string(), "", "Columns left null as an earlier rule drops it, joined by `;`; no failure."
        ),
    ]
)

DECISION = pa.schema(
    [
        column("status", pa.string(), "", "kept, rejected or failed."),
        column("drop_rule", pa.string(), "", "First rule (in config order) that the segment fails; null if kept."),
        column("drop_value", pa.float64(), "", "Value of that rule's first column; null if it is no number."),
    ]
)

_NAME = [
    column("key", pa.string(), "", "clip_id; name of the sample in the tar."),
    column("shard", pa.string(), "", "Path of the tar, relative to the dataset."),
]

_CONTENT = [
    column("split", pa.string(), "", "train, val or test; no source and no duplicate group lies on two sides."),
    column("bucket", pa.string(), "", "<frames>x<height>x<width>: floor of the frame count, displayed size in px."),
    *_PICTURE,
    column("num_frames", pa.int32(), "frames", "Frames that a player presents."),
    column("preroll_frames", pa.int32(), "frames", "Decoded frames before the first presented one."),
    column("frame_pts", pa.list_(pa.int64()), "time_base", "Pts in the clip file of each presented frame."),
    column("time_base_num", pa.int64(), "s", "Numerator of the clip file's time base."),
    column("time_base_den", pa.int64(), "1/s", "Denominator of the clip file's time base."),
    column("decoded_digest", pa.uint64(), "", "Digest of the decoded frames, proven at the cut; null if it was not."),
    column("duration_s", pa.float64(), "s", "For display and weights: (end_pts - start_pts) of the source span."),
    column(
        "cut_mode", pa.string(), "", "copy, encode, import (a stranger's clip as it came) or adopted (its .json too)."
    ),
    column("caption", pa.string(), "", "Text of the .txt member; null if there is none."),
    column("caption_source", pa.string(), "", "sidecar, or the caption model's name; null if there is no caption."),
    column("video_id", pa.string(), "", "Source video."),
    column("source_uri", pa.string(), "", "Where the source came from."),
    column("source_sha256", pa.string(), "", "Content of the source."),
    column("source_start_pts", pa.int64(), "source_time_base", "First frame in the source, inclusive."),
    column("source_end_pts", pa.int64(), "source_time_base", "Past the last frame in the source, exclusive."),
    column("source_time_base_num", pa.int64(), "s", "Numerator of the source stream's time base."),
    column("source_time_base_den", pa.int64(), "1/s", "Denominator of the source stream's time base."),
    column("dup_group", pa.string(), "", "Group of equal or near-equal clips; the keeper's clip_id."),
    column("licence", pa.string(), "", "Licence of the source."),
]

VIDEO_MEMBERS = ("json", "mp4", "txt")


def member_column(suffix: str, part: str) -> str:
    """Name of a column about a member: `latent_npy_offset`."""
    return f"{suffix.replace('.', '_')}_{part}"


def member_columns(suffix: str) -> list[pa.Field]:
    """Where a member lies, its checksum, and what an array is."""
    fields = [
        column(member_column(suffix, "offset"), pa.int64(), "B", f"Offset of the .{suffix} member's bytes in the tar."),
        column(member_column(suffix, "size"), pa.int64(), "B", f"Size of the .{suffix} member."),
        column(member_column(suffix, "xxh3"), pa.uint64(), "", f"xxh3_64 of the .{suffix} member."),
    ]
    if suffix.endswith(".npy"):
        fields += [
            column(member_column(suffix, "dtype"), pa.string(), "", f"Element type of the .{suffix} array, as <f2."),
            column(member_column(suffix, "shape"), pa.list_(pa.int64()), "", f"Shape of the .{suffix} array."),
        ]
    return fields


def members_of(columns: Collection[str]) -> tuple[str, ...]:
    """The members of the samples whose index has these columns."""
    return tuple(suffix for suffix in SUFFIXES if member_column(suffix, "offset") in columns)


def sample_schema(members: Sequence[str]) -> pa.Schema:
    """Columns of a published sample with these members, without scores."""
    places = [field for suffix in members for field in member_columns(suffix)]
    return pa.schema([*_NAME, *places, *_CONTENT])


SAMPLE = sample_schema(VIDEO_MEMBERS)


def empty(schema: pa.Schema) -> pa.Table:
    """A table of no rows."""
    return schema.empty_table()


def from_rows(rows: Iterable[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    """Rows as a table of exactly this schema; absent values are null.

    Raises:
        ContractError: a row has a column that the schema does not declare, or a value of another type.
    """
    rows = list(rows)
    unknown = sorted({name for row in rows for name in row} - set(schema.names))
    if unknown:
        raise ContractError(f"row has columns {unknown}; the schema declares {schema.names}; declare or remove them")
    try:
        return pa.Table.from_pylist(rows, schema=schema)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ContractError(f"row does not fit its schema; {error}; fix the stage that made it") from error


def strings(table: pa.Table, name: str) -> list[str]:
    """A column of strings, none of them null.

    Raises:
        ContractError: a value is null.
    """
    return _without_nulls(table, name)


def integers(table: pa.Table, name: str) -> list[int]:
    """A column of integers, none of them null.

    Raises:
        ContractError: a value is null.
    """
    return _without_nulls(table, name)


def time_base(row: dict[str, Any], prefix: str = "") -> Fraction:
    """The time base of a row, in seconds."""
    return Fraction(row[f"{prefix}time_base_num"], row[f"{prefix}time_base_den"])


def _without_nulls(table: pa.Table, name: str) -> list[Any]:
    values = table.column(name).to_pylist()
    if None in values:
        raise ContractError(f"column {name} has {values.count(None)} nulls; none is allowed here; fix the stage before")
    return values
