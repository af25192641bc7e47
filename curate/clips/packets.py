"""The packets that a span of a video needs, found from the key frame before it, in any container."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from curate.media.opening import open_video
from curate.media.timeline import exact_time_base
from shards.errors import ClipError, MediaError

if TYPE_CHECKING:
    from av import Packet
    from av.container import InputContainer
    from av.video import VideoStream

# Pictures are reordered by at most the size of the decoder's buffer, 16 in H.264 and HEVC.
MAX_REORDER = 16
_FIRST_STEP_BACK_S = 1


class CopyRefused(ClipError):
    """A clip cannot be copied exactly, so it is encoded; the code says why."""

    code = "copy_refused"


@dataclass(frozen=True)
class Mark:
    """What one packet says about itself, without its bytes.

    Attributes:
        pts: presentation time.
        duration: 0 if unknown.
        is_key: a decoder can begin here.
        is_hidden: the source's own edit list hides it.
    """

    pts: int
    duration: int
    is_key: bool
    is_hidden: bool = False


class PacketReader(AbstractContextManager["PacketReader"]):
    """One video stream of a file, read from any place; opening costs some decoded frames, so it happens seldom."""

    def __init__(self, source: Path, stream_index: int) -> None:
        self.source = source
        self.stream_index = stream_index
        self._files = ExitStack()
        self._can_seek = True
        self._open()

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def packets_from(self, pts: int) -> "Iterator[Packet[VideoStream]]":
        """Packets from some key packet at or before `pts` on, in decode order; one reading at a time.

        Demuxers differ in what they seek by (dts, pts, bytes) and some cannot, so the landing place is looked at and,
        if need be, left for an earlier one, at last for the start of the file. It need not be the last key packet.

        Raises:
            CopyRefused: `no_key_frame`: there is none at or before `pts`.
            MediaError: the file cannot be opened, or has no such video stream.
        """
        step_back_s = 0
        while True:
            from_start = not self._move_to(pts - int(step_back_s / exact_time_base(self.stream)))
            packets = (packet for packet in self.container.demux(self.stream) if packet.size)
            first = next((packet for packet in packets if packet.is_keyframe), None)
            if first is not None and first.pts is not None and first.pts <= pts:
                return chain([first], packets)
            if from_start:
                raise CopyRefused(
                    f"pts {pts} is before the first key frame; one is needed; it is encoded", "no_key_frame"
                )
            step_back_s = 2 * step_back_s or _FIRST_STEP_BACK_S

    def _open(self) -> None:
        self._files.close()
        self.container = self._files.enter_context(open_video(self.source))
        self.stream = _video_stream(self.container, self.stream_index)
        self._is_at_start = True

    def _move_to(self, pts: int) -> bool:
        """Go to near `pts` by seeking, or to the start of the file: whether it was the former."""
        start_pts = self.stream.start_time
        if self._can_seek and start_pts is not None and pts > start_pts:
            self._can_seek = _seek(self.container, self.stream, pts)
            self._is_at_start = False
            if self._can_seek:
                return True
        if not self._is_at_start:
            self._open()
        self._is_at_start = False
        return False


def span_pts(source: Path, stream_index: int, start_pts: int, end_pts: int) -> list[int]:
    """Pts of the packets inside [start_pts, end_pts), increasing; empty if the container does not tell them."""
    try:
        with PacketReader(source, stream_index) as reader:
            marks = read_marks(reader.packets_from(start_pts), start_pts, end_pts)
    except CopyRefused:
        return []
    return sorted({mark.pts for mark in marks if start_pts <= mark.pts < end_pts and not mark.is_hidden})


def read_marks(packets: "Iterable[Packet[VideoStream]]", start_pts: int, end_pts: int) -> list[Mark]:
    """Marks of the packets that [start_pts, end_pts) needs, in decode order.

    Begins with the last key packet at or before start_pts; ends with the last packet, in decode order, inside the span.

    Raises:
        CopyRefused: `no_frames`, `no_pts` (a packet has none) or `new_extradata` (the codec's parameters change).
    """
    marks: list[Mark] = []
    num_late = num_needed = 0
    for packet in packets:
        mark = _mark(packet)
        if mark.is_key and mark.pts <= start_pts:
            marks, num_late, num_needed = [], 0, 0
        marks.append(mark)
        num_late = num_late + 1 if mark.pts >= end_pts else 0
        if start_pts <= mark.pts < end_pts:
            num_needed = len(marks)
        if num_late > MAX_REORDER:
            break
    if not num_needed:
        raise CopyRefused(f"packets inside [{start_pts}, {end_pts}) are 0; one is needed; check the span", "no_frames")
    return marks[:num_needed]


def _video_stream(container: "InputContainer", index: int) -> "VideoStream":
    for stream in container.streams.video:
        if stream.index == index and stream.codec_context is not None:
            return stream
    raise MediaError(
        f"stream {index} is no video of a known codec; name another; probe the file again", "no_video_stream"
    )


def _seek(container: "InputContainer", stream: "VideoStream", pts: int) -> bool:
    """Whether the container could be moved; if not, its position is unknown."""
    try:
        container.seek(pts, stream=stream)
    except OSError:  # FLV without an index: operation not permitted
        return False
    return True


def _mark(packet: "Packet[VideoStream]") -> Mark:
    if packet.pts is None:
        raise CopyRefused("a packet has no pts; MP4 needs one for each; it is encoded", "no_pts")
    if packet.has_sidedata("new_extradata"):
        raise CopyRefused("codec parameters change inside the clip; one set is allowed; it is encoded", "new_extradata")
    return Mark(packet.pts, packet.duration or 0, packet.is_keyframe, packet.is_discard)
