"""The wanted frames of one clip, from bytes: PyAV, demuxer fixed, never a path (T = frames, H, W = pixels, C = RGB)."""

import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError

from shards.errors import ContractError
from shards.frames_digest import frame_hash, frames_digest
from shards.plans.view import BORDER_COLUMNS, ClipTimes, ViewConfig, frame_numbers
from shards.reading.picture import Pictures

# What decode_frames needs of a row; the borders only if the view crops by them.
PICTURE_COLUMNS = ("key", "rotation_deg", "sar_num", "sar_den", *BORDER_COLUMNS)

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
        # The cheap way first. It may lose pictures: those that lead an open group, by a seek to its key frame, and
        # those that a stream reorders more than it says, by not looking at its head. The whole way gives them.
        for frames in (_partial(mp4, wanted), _whole(mp4, wanted_T[-1])):
            for frame in frames:
                if frame.pts in wanted and frame.pts not in shown:
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


@dataclass(frozen=True)
class Shown:
    """What a decoder presents of a clip.

    Attributes:
        pts: of every frame, in order.
        num_corrupt: frames that could not be decoded whole.
        digest: of the frames; None if it was not asked for.
    """

    pts: list[int]
    num_corrupt: int
    digest: int | None


def present(mp4: bytes, with_digest: bool = False) -> Shown:
    """Decode a whole clip."""
    pts, hashes, num_corrupt = [], [], 0
    for frame in _whole(mp4, None):
        pts.append(frame.pts)
        num_corrupt += frame.is_corrupt
        if with_digest:
            hashes.append(frame_hash(frame))
    return Shown(pts, num_corrupt, frames_digest(hashes) if with_digest else None)


def presented_pts(mp4: bytes) -> list[int]:
    """Pts of every frame that a decoder presents, in order."""
    return present(mp4).pts


def _whole(mp4: bytes, last: int | None) -> Iterator[av.VideoFrame]:
    """Decoded frames from the start, up to one with this pts."""
    with open_clip(mp4) as container:
        for frame in container.decode(_one_thread(container.streams.video[0])):
            if frame.pts is not None and (last is None or frame.pts <= last):
                yield frame
            if last is not None and frame.pts is not None and frame.pts >= last:
                return


def _partial(mp4: bytes, wanted: Collection[int]) -> Iterator[av.VideoFrame]:
    """Decoded frames from the key frame before the first wanted one to the last wanted one.

    Opening decodes nothing, and of H.264 neither does a packet that is not wanted and that no other packet refers to.
    """
    first, last = min(wanted), max(wanted)
    with open_clip(mp4, skip_frame="all") as container:
        stream = _one_thread(container.streams.video[0])
        decoder = stream.codec_context
        if first > 0:
            # Later key frames do not repeat x264's build number, by which FFmpeg knows faults of old 4:4:4 streams.
            stream.decode(next(container.demux(stream)))
            container.seek(first, stream=stream, backward=True)
        for packet in container.demux(stream):
            needed = decoder.name != "h264" or packet.pts is None or packet.pts in wanted
            decoder.skip_frame = "DEFAULT" if needed else "NONREF"
            for frame in packet.decode():
                if frame.pts is not None and first <= frame.pts <= last:
                    yield frame
                if frame.pts is not None and frame.pts >= last:
                    return


def open_clip(mp4: bytes, **options: str) -> InputContainer:
    """A clip's container, which opens nothing else; a title that is not UTF-8 is no fault of its frames."""
    return av.open(io.BytesIO(mp4), "r", format="mp4", options=_OPTIONS | options, metadata_errors="replace")


def _one_thread(stream: av.VideoStream) -> av.VideoStream:
    stream.thread_count = 1
    stream.thread_type = "NONE"
    return stream
