"""The wanted frames of one clip, from bytes: PyAV, demuxer fixed, never a path (T = frames, H, W = pixels, C = RGB)."""

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import av
import numpy as np
from av.error import FFmpegError

from shards.errors import ContractError
from shards.picture import Pictures
from shards.view import ClipTimes, ViewConfig, frame_numbers

PICTURE_COLUMNS = ("key", "rotation_deg", "sar_num", "sar_den")  # what decode_frames needs of a row

# A clip is one MP4; nothing in it may make the demuxer open something else.
_OPTIONS = {
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2",
    "protocol_whitelist": "",
    "enable_drefs": "0",
    "max_pixels": str(8192 * 4352),
}


def decode_clip(
    mp4: bytes, row: Mapping[str, Any], view: ViewConfig, generator: np.random.Generator | None = None
) -> np.ndarray:
    """The view's frames of a clip.

    Args:
        mp4: the member's bytes.
        row: of the plan index.
        view: which frames, which size.
        generator: chooses the start where the view leaves it open; the middle without one.

    Returns:
        uint8 RGB, upright, shape (T, H, W, C).

    Raises:
        ContractError: a frame that the index promises is not in the clip.
    """
    return decode_frames(mp4, wanted_pts(row, view, generator), row, view)


def wanted_pts(row: Mapping[str, Any], view: ViewConfig, generator: np.random.Generator | None) -> list[int]:
    """Pts of the frames that the view shows, never decreasing; a frame that is shown for long comes several times."""
    times = ClipTimes.of(row)
    return times.pts_T[frame_numbers(times, view, generator)].tolist()


def decode_frames(mp4: bytes, wanted_T: Sequence[int], row: Mapping[str, Any], view: ViewConfig) -> np.ndarray:
    """The frames at these pts; arguments, result and errors as of `decode_clip`."""
    pictures, wanted = Pictures(row, view), set(wanted_T)
    shown: dict[int, Any] = {}
    last = None
    try:
        # Pictures that lead an open group are lost by a seek to its key frame; from the start they are there.
        for first in (wanted_T[0], None):
            for frame in _frames(mp4, first, wanted_T[-1]):
                if frame.pts is not None and frame.pts in wanted and frame.pts not in shown:
                    shown[frame.pts], last = pictures.yuv(frame), frame
            if len(shown) == len(wanted):
                break
    except (FFmpegError, IndexError) as error:
        raise ContractError(
            f"clip {row['key']} does not decode; {error}; rebuild the shard; see shards verify"
        ) from error
    missing = sorted(wanted - set(shown))
    if missing or last is None:
        raise ContractError(
            f"clip {row['key']} lacks frames at pts {missing[:5]}; its index has them; rebuild the shard"
        )
    return pictures.rgb([shown[pts] for pts in wanted_T], last)


def presented_pts(mp4: bytes) -> list[int]:
    """Pts of every frame that a decoder presents, in order."""
    return [frame.pts for frame in _frames(mp4, None, None) if frame.pts is not None]


def _frames(mp4: bytes, first: int | None, last: int | None) -> Iterator[av.VideoFrame]:
    """Decoded frames with first <= pts <= last, from the key frame before the first one."""
    with av.open(io.BytesIO(mp4), "r", format="mp4", options=_OPTIONS) as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        stream.thread_type = "NONE"
        if first is not None and first > 0:
            # Later key frames do not repeat x264's build number, by which FFmpeg knows faults of old 4:4:4 streams.
            stream.decode(next(container.demux(stream)))
            container.seek(first, stream=stream, backward=True)
        for frame in container.decode(stream):
            if frame.pts is None or (first is not None and frame.pts < first):
                continue
            if last is not None and frame.pts > last:
                return
            yield frame
