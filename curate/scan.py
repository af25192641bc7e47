"""The one pass over a video, as its consumers see it: small frames of every pts, in a scratch file, read span by span.

Small frames are 8-bit I420 (luma, then the two half-size chroma planes) of about 128x72 px area in the picture's own
aspect, upright. The file lies in scratch, so memory does not grow with the video's length.
"""

import math
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import cv2
import numpy as np
import pyarrow as pa
from pydantic import Field

from curate.inputs.uris import local_path
from shards.config import Config
from shards.schema import time_base

if TYPE_CHECKING:
    from curate.media.child import MediaChild

_MIN_SIDE_PX = 8
_MAX_JPEGS_PER_CHUNK = 4096  # keeps a chunk's bytes below the 2 GiB that Arrow's binary offsets reach


class SmallFramesConfig(Config):
    """Small frames: one for every pts, for shots, motion, light, borders and hashes."""

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
    skip_loop_filter: bool = Field(
        default=True, description="Decode without in-loop deblocking: cheaper, for scores only."
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
    """All small frames of one video, on disk.

    Attributes:
        small_path: raw I420 frames, one after the other.
        pts_T: int64, presentation time of every decoded frame, increasing.
        end_pts: past the last frame's end.
        time_base: seconds per pts.
        height, width: of the luma of a small frame, multiples of 4.
        lost_pts: pts of demuxed packets that the decoder gave no frame for, increasing.
    """

    small_path: Path
    pts_T: np.ndarray
    end_pts: int
    time_base: Fraction
    height: int
    width: int
    lost_pts: np.ndarray

    def of(self, start_pts: int, end_pts: int) -> Span:
        """The frames with start_pts <= pts < end_pts, read from disk: nothing is decoded here."""
        first, last = np.searchsorted(self.pts_T, [start_pts, end_pts])
        return self._read(int(first), int(last), min(end_pts, self.end_pts))

    def chunks(self, num_frames: int = 256) -> Iterator[Span]:
        """The whole video in order, so many frames at a time."""
        for first in range(0, len(self.pts_T), num_frames):
            last = min(first + num_frames, len(self.pts_T))
            yield self._read(first, last, int(self.pts_T[last]) if last < len(self.pts_T) else self.end_pts)

    def _read(self, first: int, last: int, end_pts: int) -> Span:
        rows = self.height * 3 // 2
        frame_bytes = rows * self.width
        flat = np.fromfile(self.small_path, np.uint8, count=(last - first) * frame_bytes, offset=first * frame_bytes)
        return Span(self.pts_T[first:last], end_pts, self.time_base, flat.reshape(last - first, rows, self.width))


@dataclass(frozen=True)
class ScanResult:
    """What a scan leaves in scratch; use it as a context, whose end removes the files.

    Attributes:
        scan: the small frames.
        frames: the model frames: video_id, pts, jpeg (upright); its bytes are mapped from disk, not in memory.
        counts: decoded_frames, converted_frames (not planar YUV, so by way of swscale), unordered_frames and
            ambiguous_frames (decoded, but no pts tells them: their pts are lost), decode_errors.
    """

    scan: Scan
    frames: pa.Table
    counts: Mapping[str, int]
    _folder: tempfile.TemporaryDirectory[str]

    @property
    def decoded_frames(self) -> int:
        """Frames that the decoder gave."""
        return self.counts["decoded_frames"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
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
    scan = Scan(small_path, times["pts_T"], end_pts, time_base(dict(row)), height, width, times["lost_pts"])
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
