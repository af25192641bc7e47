"""Spooled model frames (JPEG rows with exact pts) to the frames of each clip, decoded when a model looks at them."""

from collections.abc import Sequence
from typing import overload

import cv2
import numpy as np
import pyarrow as pa

from curate.stage import Clip, ClipFrames
from shards.errors import ClipError
from shards.schema import SEGMENT_CLIP, integers, strings


class JpegFrames(Sequence[np.ndarray]):
    """Frames that are decoded anew at each access, so that a part's frames need only the memory of their JPEGs."""

    def __init__(self, jpegs: Sequence[pa.BinaryScalar]) -> None:
        self._jpegs = jpegs

    def __len__(self) -> int:
        return len(self._jpegs)

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[np.ndarray]: ...
    def __getitem__(self, index: int | slice) -> np.ndarray | Sequence[np.ndarray]:
        """uint8 RGB, shape (H, W, 3); a slice gives frames, still undecoded."""
        if isinstance(index, slice):
            return JpegFrames(self._jpegs[index])
        return decode_jpeg(self._jpegs[index])


def decode_jpeg(jpeg: pa.BinaryScalar) -> np.ndarray:
    """uint8 RGB, shape (H, W, 3).

    Raises:
        ClipError: the bytes are no JPEG.
    """
    data = np.frombuffer(jpeg.as_py() or b"", np.uint8)
    bgr_HWC = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    if bgr_HWC is None:
        raise ClipError(
            f"model frame is {len(data)} bytes that are no JPEG; scan the video anew", "model_frame_unreadable"
        )
    return cv2.cvtColor(bgr_HWC, cv2.COLOR_BGR2RGB)


def clip_frames(clips: pa.Table, frames: pa.Table) -> list[ClipFrames | ClipError | None]:
    """Per row of `clips` its spooled frames, why it has none, or None if the row is no clip.

    Args:
        clips: rows of CLIP.
        frames: video_id, pts, jpeg; in any order; a (video_id, pts) may occur twice and counts once.
    """
    spool = _Spool(frames)
    return [spool.of(Clip.of(row)) if row["segment"] == SEGMENT_CLIP else None for row in clips.to_pylist()]


class _Spool:
    """The frames table, sorted: a clip's frames are one slice of it."""

    def __init__(self, frames: pa.Table) -> None:
        ids, pts = np.asarray(strings(frames, "video_id"), object), np.asarray(integers(frames, "pts"), np.int64)
        self._jpegs = frames.column("jpeg")
        self._rows_of: dict[str, np.ndarray] = {}
        self._pts_of: dict[str, np.ndarray] = {}
        for video_id in dict.fromkeys(ids.tolist()):
            rows = np.flatnonzero(ids == video_id)
            self._pts_of[video_id], first = np.unique(pts[rows], return_index=True)
            self._rows_of[video_id] = rows[first]

    def of(self, clip: Clip) -> ClipFrames | ClipError:
        pts = self._pts_of.get(clip.video_id, np.empty(0, np.int64))
        first, last = (int(index) for index in np.searchsorted(pts, [clip.start_pts, clip.end_pts]))
        if first == last:
            return ClipError(
                f"clip {clip.clip_id} has 0 model frames; models need 1; lower scan.model_frames.interval_s",
                "no_model_frames",
            )
        jpegs = [self._jpegs[int(row)] for row in self._rows_of[clip.video_id][first:last]]
        return ClipFrames(clip, pts[first:last].tolist(), JpegFrames(jpegs))
