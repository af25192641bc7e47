"""When the frames of a stream are shown, read from its packets: nothing is decoded here."""

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from av.error import FFmpegError

from shards.errors import MediaError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

_VP8_SHOW_FRAME = 0x10  # bit 4 of the first byte, RFC 6386, section 9.1


@dataclass(frozen=True)
class Timeline:
    """Presentation times of one stream, in its time base.

    Attributes:
        pts_T: int64, of every packet that carries a frame, increasing, each once.
        ambiguous_pts: int64, those that more than one packet claims: no frame can be told by them.
        end_pts: past the last frame's end.
        num_packets: packets that carry a frame.
        read_error: what the demuxer said where it stopped before the end; None if it did not.
    """

    pts_T: np.ndarray
    ambiguous_pts: np.ndarray
    end_pts: int
    num_packets: int
    read_error: str | None

    @property
    def start_pts(self) -> int:
        """Of the first frame."""
        return int(self.pts_T[0])

    @property
    def is_vfr(self) -> bool:
        """Whether distances differ by more than the rounding of the time base, which is one tick."""
        steps = np.diff(self.pts_T)
        return bool(len(steps)) and int(steps.max() - steps.min()) > 1


def carries_frame(packet: "Packet", codec_name: str) -> bool:
    """Whether a packet is shown: not so empty ones (the last frame stays), discarded ones and VP8's hidden ones."""
    if packet.size == 0 or packet.is_discard:
        return False
    return codec_name != "vp8" or bool(memoryview(packet)[0] & _VP8_SHOW_FRAME)


def packets(container: "InputContainer", stream: "VideoStream", on_error: Callable[[str], None]) -> Iterator["Packet"]:
    """The packets of a stream with bytes in them; where the demuxer fails, they end and `on_error` hears why."""
    try:
        for packet in container.demux(stream):
            if packet.size:
                yield packet
    except (FFmpegError, OSError) as error:
        on_error(f"{type(error).__name__}: {error}")


def read_timeline(
    container: "InputContainer", stream: "VideoStream", each: Callable[["Packet", int], None] | None = None
) -> Timeline:
    """Demux a whole stream.

    Args:
        container: the open file.
        stream: one of its video streams.
        each: sees every packet that carries a frame, and how many came before it.

    Raises:
        MediaError: `no_frames`, no packet carries a frame and a time.
    """
    pts, durations, errors = array("q"), array("q"), []
    codec_name = stream.codec_context.codec.canonical_name
    for packet in packets(container, stream, errors.append):
        if packet.pts is None or not carries_frame(packet, codec_name):
            continue
        if each is not None:
            each(packet, len(pts))
        pts.append(packet.pts)
        durations.append(packet.duration or 0)
    if not pts:
        raise MediaError(
            f"stream {stream.index} has no packet with a frame and a time; copy the file again", "no_frames"
        )
    return _timeline(np.array(pts), np.array(durations), errors[0] if errors else None)


def exact_time_base(stream: "VideoStream") -> Fraction:
    """Seconds per pts of a stream.

    Raises:
        MediaError: `no_time_base`.
    """
    if not stream.time_base:
        raise MediaError(f"stream {stream.index} has no time base; one is needed; remux the file", "no_time_base")
    return stream.time_base


def _timeline(pts: np.ndarray, durations: np.ndarray, read_error: str | None) -> Timeline:
    pts_T, counts_T = np.unique(pts, return_counts=True)
    last = int(pts_T[-1])
    duration = int(durations[pts == last].max())
    if duration <= 0:
        duration = int(last - pts_T[-2]) if len(pts_T) > 1 else 1
    return Timeline(pts_T, pts_T[counts_T > 1], last + duration, len(pts), read_error)
