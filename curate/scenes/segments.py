"""Segments of a video: shots, and the stretches between and inside them that are no clip.

The segments of a video partition its demuxed span [start_pts, end_pts), so that every moment of the input is accounted
for: a segment is a clip, or it names the reason why it is none (fade, dissolve, wipe, too_short, undecoded).
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from curate.scan import Scan
from curate.scenes.cuts import Curves, find_curves
from curate.scenes.dissolves import DissolvesConfig, find_dissolves
from curate.scenes.fades import FadesConfig, Gradual, find_fades
from curate.scenes.limits import BlankConfig, CutsConfig
from shards.config import Config
from shards.errors import ContractError
from shards.ids import clip_id
from shards.schema import CLIP, SEGMENT_CLIP, from_rows, time_base

SEGMENT_TOO_SHORT, SEGMENT_UNDECODED = "too_short", "undecoded"


class ScenesConfig(Config):
    """How a video is divided into segments."""

    min_clip_s: float = Field(default=2.0, ge=0, description="Shorter shots are segments of kind too_short.")
    max_clip_s: float = Field(default=20.0, gt=0, description="Longer shots are split into equal parts.")
    cuts: CutsConfig = Field(default=CutsConfig(), description="Hard cuts and flashes.")
    blanks: BlankConfig = Field(default=BlankConfig(), description="Black and white frames.")
    fades: FadesConfig = Field(default=FadesConfig(), description="Ramps to and from black or white.")
    dissolves: DissolvesConfig = Field(default=DissolvesConfig(), description="Dissolves and wipes.")

    @model_validator(mode="after")
    def _parts_are_long_enough(self) -> "ScenesConfig":
        if self.max_clip_s < 2 * self.min_clip_s:
            raise ValueError(f"max_clip_s is below twice min_clip_s ({self.min_clip_s}): parts would be too short")
        return self


@dataclass(frozen=True)
class Boundary:
    """Between two segments; the kind is start, end, cut, fade, dissolve, wipe, limit or undecoded."""

    pts: int
    kind: str
    confidence: float | None = None


@dataclass(frozen=True)
class Segment:
    """A span between two boundaries, and what it is."""

    start: Boundary
    end: Boundary
    kind: str


def find_segments(scan: Scan, video_row: Mapping[str, Any], config: ScenesConfig) -> pa.Table:
    """Rows of CLIP that partition [start_pts, end_pts) of the video.

    Raises:
        ContractError: the scan has another time base than the video, or frames outside its span.
    """
    _check(scan, video_row)
    curves = find_curves(scan, config.cuts, config.blanks)
    shots = _shots(scan, video_row, curves, find_gradual(curves, mean_rate(scan), config))
    segments = [part for shot in shots for part in _fit(shot, scan, config)]
    return from_rows((_row(segment, scan, video_row) for segment in segments), CLIP)


def split_pts(start_pts: int, end_pts: int, max_pts: Fraction, pts_T: np.ndarray) -> list[int]:
    """Boundaries inside a span, at frames, that divide it into few, near-equal parts of at most max_pts.

    A part that is one frame may be longer: a frame cannot be divided.
    """
    frames = pts_T[(pts_T > start_pts) & (pts_T < end_pts)].tolist()
    fewest = -(-(end_pts - start_pts) // max_pts)
    # One part more where rounding to frames makes one too long; a gap in a stranger's times may ask for billions.
    for num_parts in range(fewest, min(fewest + 2, len(frames) + 2)):
        targets = [start_pts + Fraction((end_pts - start_pts) * k, num_parts) for k in range(1, num_parts)]
        inner = sorted(
            {frames[bisect_right(frames, target) - 1] for target in targets if frames and frames[0] <= target}
        )
        if all(end - start <= max_pts for start, end in pairwise([start_pts, *inner, end_pts])):
            return inner
    return _greedy_split(start_pts, end_pts, max_pts, frames)


def _greedy_split(start_pts: int, end_pts: int, max_pts: Fraction, frames: Sequence[int]) -> list[int]:
    """Parts as long as they may be, from the start: for rates too uneven for equal parts."""
    inner: list[int] = []
    index = 0
    while index < len(frames) and end_pts - start_pts > max_pts:
        index = max(index, bisect_right(frames, start_pts + max_pts) - 1)
        start_pts = frames[index]
        inner.append(start_pts)
        index += 1
    return inner


def _check(scan: Scan, video_row: Mapping[str, Any]) -> None:
    start_pts, end_pts = video_row["start_pts"], video_row["end_pts"]
    declared = time_base(dict(video_row))
    if scan.time_base != declared:
        raise ContractError(
            f"time base of the scan is {scan.time_base}; the video's {declared} is allowed; probe again"
        )
    packets = np.concatenate([scan.pts_T, scan.lost_pts])
    if len(packets) and not (start_pts <= packets.min() and packets.max() < end_pts):
        raise ContractError(
            f"frames of the scan span [{packets.min()}, {packets.max()}]; within [{start_pts}, {end_pts}) is allowed; "
            "probe and scan must demux the same file"
        )


def find_gradual(curves: Curves, rate: float, config: ScenesConfig) -> list[Gradual]:
    """Fades, and dissolves apart from them: a fade is a dissolve with black as well."""
    fades = find_fades(curves.level_T, curves.blanks, curves.cuts, rate, config.fades)
    fading_T = np.zeros(len(curves.level_T), bool)
    for fade in fades:
        fading_T[fade.start : fade.end] = True
    dissolves = find_dissolves(curves.thumb_THW, curves.cuts, rate, config.dissolves)
    apart = [item for item in dissolves if not fading_T[item.start : item.end].any()]
    return sorted([*fades, *apart], key=lambda item: item.start)


def mean_rate(scan: Scan) -> float:
    """Frames per second over the whole scan."""
    if len(scan.pts_T) < 2:
        return 1.0
    return (len(scan.pts_T) - 1) / float((scan.pts_T[-1] - scan.pts_T[0]) * scan.time_base)


def _shots(scan: Scan, video_row: Mapping[str, Any], curves: Curves, gradual: list[Gradual]) -> list[Segment]:
    """Shots, transitions and undecoded stretches, whatever their length; `gradual` is disjoint and in order."""
    start_pts, end_pts = video_row["start_pts"], video_row["end_pts"]
    pts_of = [*scan.pts_T.tolist(), end_pts]
    lost = undecoded_spans(scan, start_pts, end_pts)
    inside = [(item.start + 1, item.end, item.kind) for item in gradual]
    marks: dict[int, Boundary] = {}
    for item in gradual:
        for index in (item.start, item.end):
            marks[pts_of[index]] = Boundary(pts_of[index], item.kind, item.confidence)
    for index, confidence in curves.cuts.items():
        if _covering(inside, index) is None:
            marks[pts_of[index]] = Boundary(pts_of[index], "cut", confidence)
    for pts in (pts for span in lost for pts in span):
        marks[pts] = Boundary(pts, SEGMENT_UNDECODED)
    marks[start_pts], marks[end_pts] = Boundary(start_pts, "start"), Boundary(end_pts, "end")
    others = [(pts_of[item.start], pts_of[item.end], item.kind) for item in gradual]
    ordered = [marks[pts] for pts in sorted(marks)]
    return list(_segments(ordered, [(*span, SEGMENT_UNDECODED) for span in lost], others))


def undecoded_spans(scan: Scan, start_pts: int, end_pts: int) -> list[tuple[int, int]]:
    """Half-open spans of [start_pts, end_pts) for which there is no decoded frame, in order."""
    pts = np.concatenate([scan.pts_T, scan.lost_pts])
    is_lost = np.concatenate([np.zeros(len(scan.pts_T), bool), np.ones(len(scan.lost_pts), bool)])
    order = np.argsort(pts, kind="stable")
    starts = [start_pts, *pts[order].tolist(), end_pts]
    lost = [True, *is_lost[order].tolist()]  # what precedes the first packet has no frame either
    spans: list[tuple[int, int]] = []
    for start, end, gone in zip(starts[:-1], starts[1:], lost, strict=True):
        if not gone or start == end:
            continue
        if spans and spans[-1][1] == start:
            start = spans.pop()[0]
        spans.append((start, end))
    return spans


def _segments(marks: Iterable[Boundary], *layers: Sequence[tuple[int, int, str]]) -> Iterator[Segment]:
    """What lies between the boundaries, named by the first layer of (start, end, kind) that covers it."""
    for start, end in pairwise(marks):
        kinds = (_covering(layer, start.pts) for layer in layers)
        yield Segment(start, end, next((kind for kind in kinds if kind), SEGMENT_CLIP))


def _covering(spans: Sequence[tuple[int, int, str]], at: int) -> str | None:
    """Kind of the span, of disjoint ones in order, that covers a position."""
    index = bisect_right(spans, at, key=lambda span: span[0]) - 1
    return spans[index][2] if index >= 0 and at < spans[index][1] else None


def _fit(segment: Segment, scan: Scan, config: ScenesConfig) -> list[Segment]:
    """A shot as the clips it gives: split if too long, marked if too short; other segments as they are."""
    if segment.kind != SEGMENT_CLIP:
        return [segment]
    length = segment.end.pts - segment.start.pts
    if length < _in_pts(config.min_clip_s, scan):
        return [Segment(segment.start, segment.end, SEGMENT_TOO_SHORT)]
    inner = split_pts(segment.start.pts, segment.end.pts, _in_pts(config.max_clip_s, scan), scan.pts_T)
    marks = [segment.start, *(Boundary(pts, "limit") for pts in inner), segment.end]
    return [Segment(start, end, SEGMENT_CLIP) for start, end in pairwise(marks)]


def _in_pts(seconds: float, scan: Scan) -> Fraction:
    return Fraction(str(seconds)) / scan.time_base  # by its digits: 1.1 is meant as 11/10


def _row(segment: Segment, scan: Scan, video_row: Mapping[str, Any]) -> dict[str, Any]:
    start_pts, end_pts = segment.start.pts, segment.end.pts
    first, last = np.searchsorted(scan.pts_T, [start_pts, end_pts])
    return {
        "clip_id": clip_id(video_row["video_id"], video_row["stream_index"], start_pts, end_pts),
        "video_id": video_row["video_id"],
        "stream_index": video_row["stream_index"],
        "start_pts": start_pts,
        "end_pts": end_pts,
        "time_base_num": video_row["time_base_num"],
        "time_base_den": video_row["time_base_den"],
        "num_frames": int(last - first),
        "segment": segment.kind,
        "start_kind": segment.start.kind,
        "end_kind": segment.end.kind,
        "cut_confidence": segment.start.confidence,
        "error": "scan:frames_lost" if segment.kind == SEGMENT_UNDECODED else None,
    }
