"""From what a person types to a row of the catalog: clip id, video id, uri or file name, and a second of the video."""

import re
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.compute

from curate.report.text import clock, visible
from shards.errors import ConfigError
from shards.schema import STATUS_OK, time_base

pc: Any = pyarrow.compute  # its stubs refuse the plain values that the functions take

_SECOND = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d+)?)")
_MAX_NAMED = 5


def split_question(text: str) -> tuple[str, Fraction | None]:
    """`ID@12.5` or `ID@1:02.5` as ID and seconds; a text without a time is all ID."""
    name, at, tail = text.rpartition("@")
    match = _SECOND.fullmatch(tail) if at else None
    if match is None:
        return text, None
    hours, minutes, seconds = (Fraction(part or 0) for part in match.groups())
    return name, 3600 * hours + 60 * minutes + seconds


def find_clip(clips: pa.Table, name: str) -> dict[str, Any] | None:
    """The segment of this id; None if there is none."""
    rows = clips.filter(pc.equal(clips["clip_id"], name)).to_pylist()
    return rows[0] if rows else None


def find_video(videos: pa.Table, name: str) -> dict[str, Any]:
    """The row of this video id, uri or file name (with or without suffix); of equal contents the scanned one.

    Raises:
        ConfigError: none, or several contents.
    """
    rows = videos.to_pylist()
    tests = (
        lambda row: name in (row["uri"], row["uri"].removeprefix("file://")),
        lambda row: row["video_id"] == name,
        lambda row: name in (PurePosixPath(row["uri"]).name, PurePosixPath(row["uri"]).stem),
    )
    for test in tests:
        found = [row for row in rows if test(row)]
        if found:
            return _one(found, name)
    raise ConfigError(
        f"id is '{visible(name)}'; the catalog's clip ids, video ids, uris and file names are allowed; name one of them"
    )


def segments_of(clips: pa.Table, video: dict[str, Any]) -> list[dict[str, Any]]:
    """A scanned video's segments in order of time; [] if the row has none of its own."""
    if video["status"] != STATUS_OK:
        return []
    rows = clips.filter(pc.equal(clips["video_id"], video["video_id"])).to_pylist()
    return sorted(rows, key=lambda row: row["start_pts"])


def segment_at(segments: list[dict[str, Any]], video: dict[str, Any], second: Fraction) -> dict[str, Any]:
    """The segment that holds a second, counted from the video's first frame.

    Raises:
        ConfigError: the video does not last so long.
    """
    pts = video["start_pts"] + second / time_base(video)
    for row in segments:
        if row["start_pts"] <= pts < row["end_pts"]:
            return row
    last_s = float((video["end_pts"] - video["start_pts"]) * time_base(video))
    raise ConfigError(f"second is {clock(float(second))}; the video lasts from 0 to {clock(last_s)}; name one within")


def _one(found: list[dict[str, Any]], name: str) -> dict[str, Any]:
    contents = {row["video_id"] or row["uri"] for row in found}
    if len(contents) > 1:
        uris = ", ".join(visible(row["uri"]) for row in found[:_MAX_NAMED])
        raise ConfigError(f"name is '{visible(name)}'; {len(contents)} videos have it; name one by its uri: {uris}")
    return next((row for row in found if row["status"] == STATUS_OK), found[0])
