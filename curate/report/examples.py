"""Pictures for the report: a few clips per verdict, from the spooled model frames, as small JPEG data URIs.

Only the frames that are shown are read: first which (video, pts) exist, then those few JPEGs.
"""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from curate.report.data import RunData, seconds, texts
from curate.report.funnel import SEGMENT_PREFIX
from shards.schema import STATUS_KEPT, time_base

EXAMPLES_PER_RULE = 8
EXAMPLES_KEPT = 12
FRAMES_PER_CLIP = 3
THUMB_PX = 200
JPEG_QUALITY = 72


@dataclass(frozen=True)
class Example:
    """One clip to look at.

    Attributes:
        row: its row of the catalog.
        uri: where it came from.
        start_s: position in the source, counted from the source's first frame.
        thumbs: data URIs of frames in time order; [] if no model frame lies in the span.
    """

    row: dict[str, Any]
    uri: str
    start_s: float
    duration_s: float
    thumbs: list[str]


@dataclass(frozen=True)
class Gallery:
    """Clips with one verdict: kept, or the rule that decided."""

    name: str
    status: str
    total: int
    examples: list[Example]


def galleries(run: RunData) -> list[Gallery]:
    """Kept clips first, then one gallery per rule in order of seconds removed."""
    verdicts = np.where(texts(run.clips, "status") == STATUS_KEPT, "", texts(run.clips, "drop_rule"))
    lengths_s = seconds(run.clips)
    names = sorted(set(verdicts), key=lambda name: (name != "", -float(lengths_s[verdicts == name].sum()), name))
    counts = {name: EXAMPLES_PER_RULE if name else EXAMPLES_KEPT for name in names}
    chosen = {name: _choose(run.clips, verdicts == name, count) for name, count in counts.items()}
    rows = {name: run.clips.take(pa.array(indices)).to_pylist() for name, indices in chosen.items() if indices}
    thumbs = _thumbs(run.root / "parts" / "frames", [row for group in rows.values() for row in group])
    sources = _sources(run.videos)
    return [
        Gallery(
            name.removeprefix(SEGMENT_PREFIX) or "kept",
            group[0]["status"],
            int((verdicts == name).sum()),
            [_example(row, thumbs, sources) for row in group],
        )
        for name, group in rows.items()
    ]


def thumbnail(jpeg: bytes, long_side_px: int = THUMB_PX) -> str | None:
    """A smaller JPEG as a data URI; None if the bytes are no picture."""
    bgr_HWC = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    if bgr_HWC is None:
        return None
    scale = min(1.0, long_side_px / max(bgr_HWC.shape[:2]))
    height, width = (max(1, round(side * scale)) for side in bgr_HWC.shape[:2])
    small_HWC = cv2.resize(bgr_HWC, (width, height), interpolation=cv2.INTER_AREA)
    encoded = cv2.imencode(".jpg", small_HWC, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()
    return "data:image/jpeg;base64," + base64.b64encode(encoded).decode()


def _choose(clips: pa.Table, mask: np.ndarray, count: int) -> list[int]:
    """Rows spread evenly over the deciding value (nulls last), or over clip ids where there is none."""
    indices = np.flatnonzero(mask)
    if not len(indices):
        return []
    values = pc.cast(clips["drop_value"], pa.float64()).to_numpy(zero_copy_only=False)[indices]
    order = np.lexsort((texts(clips, "clip_id")[indices].astype(str), values))
    places = np.unique(np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int))
    return indices[order[places]].tolist()


def _example(row: dict[str, Any], thumbs: dict[str, list[str]], sources: dict[str, tuple[str, int]]) -> Example:
    uri, first_pts = sources.get(row["video_id"], ("", row["start_pts"]))
    base = time_base(row)
    return Example(
        row,
        uri,
        float((row["start_pts"] - first_pts) * base),
        float((row["end_pts"] - row["start_pts"]) * base),
        thumbs.get(row["clip_id"], []),
    )


def _sources(videos: pa.Table) -> dict[str, tuple[str, int]]:
    """Uri and first pts by video id; the first of several inputs with the same bytes."""
    columns = videos.select(["video_id", "uri", "start_pts"]).to_pydict()
    rows = zip(columns["video_id"], columns["uri"], columns["start_pts"], strict=True)
    return {video: (uri, pts or 0) for video, uri, pts in reversed(list(rows)) if video}


def _thumbs(folder: Path, rows: Sequence[dict[str, Any]]) -> dict[str, list[str]]:
    files = sorted(folder.glob("*.parquet")) if folder.is_dir() else []
    if not files or not rows:
        return {}
    spool = ds.dataset([str(file) for file in files], format="parquet")
    of_videos = pc.field("video_id").isin(sorted({row["video_id"] for row in rows}))
    known = spool.to_table(columns=["video_id", "pts"], filter=of_videos)
    wanted = {row["clip_id"]: (row["video_id"], _frames_of(row, known)) for row in rows}
    pictures = _pictures(spool, wanted.values())
    return {
        clip: [uri for uri in (pictures.get((video, pts)) for pts in chosen) if uri is not None]
        for clip, (video, chosen) in wanted.items()
    }


def _frames_of(row: dict[str, Any], known: pa.Table) -> list[int]:
    inside = pc.and_(
        pc.equal(known["video_id"], row["video_id"]),
        pc.and_(
            pc.greater_equal(known["pts"], row["start_pts"]),
            pc.less(known["pts"], row["end_pts"]),
        ),
    )
    pts_T = np.unique(known["pts"].filter(inside).to_numpy())
    if not len(pts_T):
        return []
    places = np.linspace(0, len(pts_T) - 1, min(FRAMES_PER_CLIP, len(pts_T))).round().astype(int)
    return pts_T[np.unique(places)].tolist()


def _pictures(spool: ds.Dataset, wanted: Iterable[tuple[str, list[int]]]) -> dict[tuple[str, int], str]:
    keys = {(video, pts) for video, chosen in wanted for pts in chosen}
    found: dict[tuple[str, int], str] = {}
    if not keys:  # no type could be told from an empty list
        return found
    only = pc.field("video_id").isin(sorted({video for video, _ in keys})) & pc.field("pts").isin(
        sorted({pts for _, pts in keys})
    )
    # no read-ahead: one batch of JPEGs in memory at a time
    batches = spool.to_batches(
        columns=["video_id", "pts", "jpeg"], filter=only, batch_size=64, batch_readahead=0, fragment_readahead=1
    )
    for batch in batches:
        for frame in batch.to_pylist():
            key = (frame["video_id"], frame["pts"])
            if key in keys and key not in found and (uri := thumbnail(frame["jpeg"])) is not None:
                found[key] = uri
    return found
