"""The one pass over a video, as its consumers see it: small frames and their pts, in scratch, read span by span.

A coarse pass leaves out frames that no other frame refers to; their pts are known all the same, and `fill_scan` decodes
those that turn out to be needed. Small frames are 8-bit I420 (luma, then the two half-size chroma planes) of about
128x72 px area in the picture's own aspect, upright. The file lies in scratch, so memory does not grow with the video's
length.
"""

import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import cv2
import numpy as np
import pyarrow as pa
from pydantic import Field

from curate.inputs.uris import local_path
from curate.scenes.features import Features
from shards.config import Config
from shards.schema import time_base

if TYPE_CHECKING:
    from curate.media.child import MediaChild

_MIN_SIDE_PX = 8
_MAX_JPEGS_PER_CHUNK = 4096  # keeps a chunk's bytes below the 2 GiB that Arrow's binary offsets reach


class SmallFramesConfig(Config):
    """Small frames: one for every frame decoded, for shots, motion, light, borders and hashes."""

    area_px: int = Field(
        default=128 * 72, ge=32 * 18, le=512 * 512, description="Pixels of a small frame, its aspect kept."
    )


class ModelFramesConfig(Config):
    """Model frames: sparse, for embeddings and captions."""

    interval_s: float = Field(default=0.5, gt=0, description="Seconds from one model frame to the next.")
    max_side_px: int = Field(default=512, ge=64, le=4096, description="Longer side of a model frame, at most.")
    jpeg_quality: int = Field(default=90, ge=1, le=100, description="Quality of the spooled JPEG.")


class ScanConfig(Config):
    """The one decode of a video."""

    small_frames: SmallFramesConfig = SmallFramesConfig()
    model_frames: ModelFramesConfig = ModelFramesConfig()
    skip_loop_filter: Literal["none", "noref", "all"] = Field(
        default="noref",
        description="Frames decoded without in-loop deblocking; those no other refers to, or all, which moves cuts.",
    )
    coarse: bool = Field(
        default=True,
        description="First decode only frames that others refer to; of the rest those near a possible boundary.",
    )
    decoder_threads: int = Field(default=1, ge=1, le=64, description="Threads of the decoder in each media child.")
    deadline_s: float = Field(default=120.0, gt=0, description="Wall-clock seconds for a scan, whatever the length …")
    deadline_per_frame_s: float = Field(default=0.25, ge=0, description="… and for each packet of the video on top.")


@dataclass(frozen=True)
class Span:
    """Consecutive small frames (T = frames, H, W = pixels).

    Attributes:
        pts_T: int64, presentation time of each frame in the stream's time base, increasing.
        end_pts: past the last frame's end.
        time_base: seconds per pts.
        i420_THW: uint8, shape (T, H * 3 / 2, W): luma, then U and V at half size.
    """

    pts_T: np.ndarray
    end_pts: int
    time_base: Fraction
    i420_THW: np.ndarray

    def __len__(self) -> int:
        return len(self.pts_T)

    @property
    def grey_THW(self) -> np.ndarray:  # noqa: N802
        """uint8 luma, shape (T, H, W): a view."""
        return self.i420_THW[:, : self.i420_THW.shape[1] * 2 // 3]

    @cached_property
    def time_T(self) -> np.ndarray:  # noqa: N802
        """float64 seconds since the first frame."""
        return (self.pts_T - self.pts_T[0]) * float(self.time_base)

    def bgr_THWC(self) -> Iterator[np.ndarray]:  # noqa: N802
        """Each frame as uint8 BGR, shape (H, W, 3)."""
        for i420_HW in self.i420_THW:
            yield cv2.cvtColor(i420_HW, cv2.COLOR_YUV2BGR_I420)


@dataclass(frozen=True)
class Scan:
    """What was seen of one video, its small frames on disk (T = all frames, S = frames seen).

    Attributes:
        small_path: raw I420 frames, one after the other.
        pts_T: int64, presentation time of every frame, increasing, whether seen or left out.
        end_pts: past the last frame's end.
        time_base: seconds per pts.
        height, width: of the luma of a small frame, multiples of 4.
        lost_pts: pts of demuxed packets that the decoder gave no frame for, increasing.
        seen_S: int64, index into pts_T of each frame that was seen, increasing.
        place_S: int64, place of each of them in the file.
        features: what was measured of each of them.
    """

    small_path: Path
    pts_T: np.ndarray
    end_pts: int
    time_base: Fraction
    height: int
    width: int
    lost_pts: np.ndarray
    seen_S: np.ndarray
    place_S: np.ndarray
    features: Features

    def of(self, start_pts: int, end_pts: int) -> Span:
        """The frames seen with start_pts <= pts < end_pts, read from disk: nothing is decoded here."""
        first, last = np.searchsorted(self._seen_pts_S, [start_pts, end_pts])
        return Span(
            self._seen_pts_S[first:last],
            min(end_pts, self.end_pts),
            self.time_base,
            self._read(self.place_S[first:last]),
        )

    def nearest(self, index: int) -> np.ndarray:
        """The small frame of frame `index`, or the one seen next to it: uint8 (H * 3 / 2, W)."""
        at = int(np.abs(self.seen_S - index).argmin())
        return self._read(self.place_S[at : at + 1])[0]

    @cached_property
    def _seen_pts_S(self) -> np.ndarray:  # noqa: N802
        return self.pts_T[self.seen_S]

    def _read(self, places: np.ndarray) -> np.ndarray:
        """Frames at these places of the file, stretch by stretch."""
        rows = self.height * 3 // 2
        i420_THW = np.empty((len(places), rows, self.width), np.uint8)
        starts = [0, *(np.flatnonzero(np.diff(places) != 1) + 1).tolist(), len(places)]
        with self.small_path.open("rb", buffering=0) as file:
            for first, last in pairwise(starts):
                if first < last:
                    file.seek(int(places[first]) * rows * self.width)
                    file.readinto(i420_THW[first:last].data)
        return i420_THW


@dataclass(frozen=True)
class ScanResult:
    """What a scan leaves in scratch; use it as a context, whose end removes the files.

    Attributes:
        scan: the small frames.
        frames: the model frames: video_id, pts, jpeg (upright); its bytes are mapped from disk, not in memory.
        counts: decoded_frames (those decoded twice count twice), converted_frames (not planar YUV, so by way of
            swscale), unordered_frames and ambiguous_frames (decoded, but no pts tells them: their pts are lost),
            decode_errors, unskippable_frames (a coarse pass was asked for, but this decoder leaves no frame out).
    """

    scan: Scan
    frames: pa.Table
    counts: Mapping[str, int]
    _folder: tempfile.TemporaryDirectory[str]

    @property
    def decoded_frames(self) -> int:
        """Frames that the decoder gave."""
        return self.counts["decoded_frames"]

    @property
    def skipped_frames(self) -> int:
        """Frames that were left out."""
        return len(self.scan.pts_T) - len(self.scan.seen_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the files."""
        self._folder.cleanup()


def scan_video(child: "MediaChild", video_row: Mapping[str, Any], scratch: Path, config: ScanConfig) -> ScanResult:
    """Decode a probed video once, in the child.

    Args:
        child: where the bytes are opened.
        video_row: a row of VIDEO with status ok.
        scratch: folder for the files of the result.
        config: sizes, intervals, decoder switches.

    Raises:
        MediaError: the file cannot be scanned; its code says why.
    """
    with ExitStack() as undo:
        folder = tempfile.TemporaryDirectory(dir=scratch, prefix="scan-")
        undo.callback(folder.cleanup)
        out = str(Path(folder.name).resolve() / "scan")
        arguments: dict[str, Any] = _arguments(video_row, config) | {"out": out}
        deadline_s = config.deadline_s + config.deadline_per_frame_s * video_row["num_packets"]
        counts = child.call("scan", deadline_s, **arguments)
        result = _read_result(video_row, arguments["small_size"], Path(out), counts, folder)
        undo.pop_all()
    return result


def fill_scan(
    child: "MediaChild",
    video_row: Mapping[str, Any],
    result: ScanResult,
    spans: Sequence[tuple[int, int]],
    config: ScanConfig,
) -> ScanResult | None:
    """Decode the frames of a scan that were left out within spans; the files of the result are the same, longer.

    Args:
        child: where the bytes are opened.
        video_row: the row that was scanned.
        result: of the scan.
        spans: first and last pts of each, inclusive, both of frames seen if there are such; disjoint, in order.
        config: as the scan had it.

    Returns:
        The fuller result; None if the decoder, started at a key frame, does not give every one of these frames.

    Raises:
        MediaError: the file cannot be decoded any more.
    """
    scan = result.scan
    out = str(scan.small_path.with_suffix(""))
    arguments = _arguments(video_row, config)
    names = ("path", "stream_index", "rotation_deg", "small_size", "skip_loop_filter", "num_threads")
    deadline_s = config.deadline_s + config.deadline_per_frame_s * video_row["num_packets"]
    wanted = {name: arguments[name] for name in names} | {"spans": spans, "out": out}
    counts = child.call("fill", deadline_s, **wanted)
    counts = {**result.counts, "decoded_frames": result.counts["decoded_frames"] + counts["decoded_frames"]}
    with np.load(f"{out}.fill.npz", allow_pickle=False) as arrays:
        given = dict(arrays)
    result = replace(result, counts=counts)
    asked = sum(int(((scan.pts_T >= first) & (scan.pts_T <= last)).sum()) for first, last in spans)
    if len(given["pts_T"]) != asked:
        return None
    return replace(result, scan=_merged(scan, given))


def _merged(scan: Scan, given: Mapping[str, np.ndarray]) -> Scan:
    """A scan with the frames of a fill, of which the new ones were written behind the others."""
    index_F = np.searchsorted(scan.pts_T, given["pts_T"])
    new_F = ~np.isin(index_F, scan.seen_S)
    filled = Features.read(given)
    seen = np.concatenate([scan.seen_S, index_F[new_F]])
    order = np.argsort(seen)
    place = np.concatenate([scan.place_S, len(scan.seen_S) + np.arange(int(new_F.sum()))])
    features = scan.features.followed_by(filled.take(np.flatnonzero(new_F))).take(order)
    seen_S = seen[order]
    follows_F = ~given["is_first"]  # the change of a span's first frame is not known from the span
    features.change_T[np.searchsorted(seen_S, index_F[follows_F])] = filled.change_T[follows_F]
    return replace(scan, seen_S=seen_S, place_S=place[order], features=features)


def small_size(width: int, height: int, sar: Fraction, area_px: int) -> tuple[int, int]:
    """Width and height with the picture's displayed aspect and about so many pixels, multiples of 4."""
    aspect = width * float(sar) / height
    sides = math.sqrt(area_px * aspect), math.sqrt(area_px / aspect)
    wide, high = (min(max(_MIN_SIDE_PX, 4 * round(side / 4)), area_px // _MIN_SIDE_PX // 4 * 4) for side in sides)
    return wide, high


def model_size(width: int, height: int, sar: Fraction, max_side_px: int) -> tuple[int, int]:
    """Width and height with square pixels, the longer side at most `max_side_px`, never larger than the source."""
    wide, high = (width * float(sar), float(height)) if sar >= 1 else (float(width), height / float(sar))
    scale = min(1.0, max_side_px / max(wide, high), max(width, height) / max(wide, high))
    return max(1, round(wide * scale)), max(1, round(high * scale))


def _arguments(row: Mapping[str, Any], config: ScanConfig) -> dict[str, Any]:
    sar = Fraction(row["sar_num"], row["sar_den"])
    size = row["width"], row["height"], sar
    return {
        "path": str(local_path(row["uri"])),
        "stream_index": row["stream_index"],
        "rotation_deg": row["rotation_deg"],
        "small_size": small_size(*size, config.small_frames.area_px),
        "model_size": model_size(*size, config.model_frames.max_side_px),
        "model_interval_s": str(config.model_frames.interval_s),
        "jpeg_quality": config.model_frames.jpeg_quality,
        "skip_loop_filter": config.skip_loop_filter,
        "coarse": config.coarse,
        "num_threads": config.decoder_threads,
    }


def _read_result(
    row: Mapping[str, Any],
    size: tuple[int, int],
    out: Path,
    counts: dict[str, int],
    folder: tempfile.TemporaryDirectory[str],
) -> ScanResult:
    width, height = size[::-1] if row["rotation_deg"] % 180 else size
    with np.load(f"{out}.npz", allow_pickle=False) as arrays:
        times = dict(arrays)
    end_pts = counts.pop("end_pts")
    small_path = Path(f"{out}.i420")
    pts_T = np.union1d(times["pts_T"], times["hidden_pts"])
    scan = Scan(
        small_path,
        pts_T,
        end_pts,
        time_base(dict(row)),
        height,
        width,
        times["lost_pts"],
        seen_S=np.searchsorted(pts_T, times["pts_T"]),
        place_S=np.arange(len(times["pts_T"])),
        features=Features.read(times),
    )
    frames = _frames_table(row["video_id"], times["model_pts"], times["model_bytes"], Path(f"{out}.jpegs"))
    return ScanResult(scan, frames, counts, folder)


def _frames_table(video_id: str, pts: np.ndarray, sizes: np.ndarray, path: Path) -> pa.Table:
    """Rows of model frames whose JPEG bytes stay in the mapped file."""
    ends = np.concatenate([[0], np.cumsum(sizes)])
    jpegs = []
    if len(pts):
        with pa.memory_map(str(path)) as source:
            data = source.read_buffer()
        for first in range(0, len(pts), _MAX_JPEGS_PER_CHUNK):
            cuts = ends[first : first + _MAX_JPEGS_PER_CHUNK + 1]
            offsets = pa.py_buffer((cuts - cuts[0]).astype(np.int32))
            jpegs.append(pa.Array.from_buffers(pa.binary(), len(cuts) - 1, [None, offsets, data.slice(int(cuts[0]))]))
    columns = [pa.array([video_id] * len(pts), pa.string()), pa.array(pts, pa.int64())]
    return pa.table([*columns, pa.chunked_array(jpegs, pa.binary())], names=["video_id", "pts", "jpeg"])
