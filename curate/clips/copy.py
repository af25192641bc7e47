"""A clip as the source's own packets: from the key frame before it on, remuxed to MP4 with an exact edit list.

Time in the clip file: one tick is 1 / denominator of the source's time base, so source pts map by an integer factor and
a difference; nothing is rounded. Decode times are made anew from the pts, so they do not depend on where the demuxer
started to read.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from heapq import merge
from itertools import dropwhile, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from curate.clips.audio import Sound, add_sound
from curate.clips.cut import COPYABLE
from curate.clips.mp4_edit import Edit, write_edit
from curate.clips.packets import CopyRefused, Mark, PacketReader, read_marks
from curate.media.timeline import exact_time_base

if TYPE_CHECKING:
    from av import Packet
    from av.video import VideoStream

MAX_TIMESCALE = (1 << 31) - 1


@dataclass(frozen=True)
class CopyPlan:
    """Packets of a clip (P of them, in decode order), times in ticks of the clip file.

    Attributes:
        source_pts_P: pts in the source; the first packet is a key packet.
        pts_P: presentation times, the first decode time being 0.
        dts_P: decode times, strictly increasing, never after the presentation.
        is_sync_P: a decoder that begins here shows everything from here on: no later packet is presented earlier.
        last_duration: of the packet decoded last.
        edit: what a player presents.
        frame_pts: times of the presented frames as a player sees them, from 0 on.
        preroll_frames: packets with a presentation time before the edit.
    """

    source_pts_P: Sequence[int]
    pts_P: Sequence[int]
    dts_P: Sequence[int]
    is_sync_P: Sequence[bool]
    last_duration: int
    edit: Edit
    frame_pts: Sequence[int]
    preroll_frames: int


def copy_clip(
    source: Path,
    stream_index: int,
    start_pts: int,
    end_pts: int,
    out: Path,
    max_preroll: float,
    sound: Sound | None = None,
) -> CopyPlan:
    """Write the packets that show [start_pts, end_pts) of a stream to an MP4 file that presents exactly these frames.

    Args:
        source: the source file.
        stream_index: its video stream.
        start_pts: first frame, inclusive, in the stream's time base.
        end_pts: past the last frame, exclusive.
        out: the MP4 to write; deterministic bytes.
        max_preroll: hidden time before the first frame that is allowed, in lengths of the span.
        sound: what is heard with it; None for nothing.

    Raises:
        CopyRefused: MP4 cannot carry these frames exactly, or with too much preroll.
        MediaError: the source cannot be opened.
    """
    with PacketReader(source, stream_index) as reader:
        check_copyable(reader.stream)
        marks = read_marks(reader.packets_from(start_pts), start_pts, end_pts)
        plan = plan_copy(marks, start_pts, end_pts, exact_time_base(reader.stream).numerator, max_preroll)
        packets = reader.packets_from(plan.source_pts_P[0])
        _mux(_planned(packets, plan.source_pts_P), reader.stream, plan, out, sound)
    write_edit(out, plan.edit, sound.priming if sound else None)
    return plan


def check_copyable(stream: "VideoStream") -> None:
    """Refuse codecs and time bases that MP4 cannot carry as they are.

    Raises:
        CopyRefused: with the code `codec` or `time_base`.
    """
    name = stream.codec_context.codec.canonical_name
    if name not in COPYABLE:
        raise CopyRefused(f"codec is {name}; {', '.join(COPYABLE)} are copied; it is encoded", "codec")
    time_base = exact_time_base(stream)
    if time_base.denominator > MAX_TIMESCALE:
        raise CopyRefused(f"time base is {time_base}; 31 bits are allowed; it is encoded", "time_base")


def plan_copy(marks: Sequence[Mark], start_pts: int, end_pts: int, num: int, max_preroll: float) -> CopyPlan:
    """Place packets on the clip's own time line.

    Args:
        marks: packets in decode order, the first a key packet.
        start_pts: first frame, inclusive, in the source's time base.
        end_pts: past the last frame, exclusive.
        num: numerator of the source's time base: ticks of the clip per unit of pts.
        max_preroll: hidden time before the first frame, at most, in lengths of the span.

    Raises:
        CopyRefused: `preroll`, `source_edit` (the source's edit list hides a packet inside the span), or `no_pts` (two
            packets have one pts).
    """
    pts_P = [mark.pts for mark in marks]
    ordered = sorted(pts_P)
    inside = [pts for pts in ordered if start_pts <= pts < end_pts]
    first = inside[0]
    _check_times(marks, start_pts, end_pts)
    if first - ordered[0] > max_preroll * (end_pts - first):
        raise CopyRefused(
            f"hidden time before the clip is {first - ordered[0]} for {end_pts - first} shown; cut.max_preroll is "
            f"{max_preroll}; it is encoded",
            "preroll",
        )
    # The least delay with which no packet is late: the k-th one decoded has the k-th presentation time to decode at.
    delay = max(shown - pts for shown, pts in zip(ordered, pts_P, strict=True))
    origin = ordered[0] - delay
    return CopyPlan(
        source_pts_P=pts_P,
        pts_P=[(pts - origin) * num for pts in pts_P],
        dts_P=[(pts - ordered[0]) * num for pts in ordered],
        is_sync_P=_sync(marks),
        last_duration=max(1, marks[-1].duration) * num,
        edit=Edit((first - origin) * num, (end_pts - first) * num),
        frame_pts=[(pts - first) * num for pts in inside],
        preroll_frames=sum(pts < first for pts in pts_P),
    )


def _sync(marks: Sequence[Mark]) -> list[bool]:
    """Which packets MP4 may call sync samples: the first, and key packets that no leading picture follows.

    Whoever seeks by FFmpeg's MP4 demuxer to a picture that leads an open group lands on the group's own key packet, and
    the picture is decoded without what it refers to.
    """
    found, least_later = [], marks[-1].pts
    for mark in reversed(marks):
        found.append(mark.is_key and mark.pts <= least_later)
        least_later = min(least_later, mark.pts)
    return [True, *found[-2::-1]]


def _check_times(marks: Sequence[Mark], start_pts: int, end_pts: int) -> None:
    if any(mark.is_hidden for mark in marks if start_pts <= mark.pts < end_pts):
        raise CopyRefused("source hides a packet by its own edit list; none is allowed; it is encoded", "source_edit")
    if len({mark.pts for mark in marks}) < len(marks):
        raise CopyRefused("two packets have one pts; each needs its own; it is encoded", "no_pts")


def _mux(
    packets: "Iterator[Packet[VideoStream]]", stream: "VideoStream", plan: CopyPlan, out: Path, sound: Sound | None
) -> None:
    import av

    scale = str(exact_time_base(stream).denominator)
    options = {"movie_timescale": scale, "video_track_timescale": scale, "fflags": "+bitexact"}
    with ExitStack() as files:
        target = files.enter_context(av.open(str(out), "w", format="mp4", options=options))
        track = target.add_stream_from_template(stream, opaque=True)
        # The container's word, which players follow; the template carries only the codec's own.
        track.codec_context.sample_aspect_ratio = stream.sample_aspect_ratio or Fraction(0)
        placed: Iterator[Packet] = _placed(packets, plan, track, Fraction(1, int(scale)))
        if sound is not None:
            heard = add_sound(target, files.enter_context(av.open(str(sound.path))))
            placed = merge(placed, heard, key=lambda packet: (packet.dts or 0) * (packet.time_base or 0))
        for packet in placed:
            target.mux(packet)


def _placed(
    packets: "Iterator[Packet[VideoStream]]", plan: CopyPlan, track: "VideoStream", tick: Fraction
) -> "Iterator[Packet[VideoStream]]":
    """The packets with their places in the clip."""
    steps = [*(after - before for before, after in pairwise(plan.dts_P)), plan.last_duration]
    times = zip(plan.pts_P, plan.dts_P, steps, plan.is_sync_P, strict=True)
    for packet, (pts, dts, duration, is_sync) in zip(packets, times, strict=True):
        packet.stream = track
        packet.time_base = tick
        packet.pts, packet.dts, packet.duration, packet.is_keyframe = pts, dts, duration, is_sync
        yield packet


def _planned(packets: "Iterator[Packet[VideoStream]]", pts_P: Sequence[int]) -> "Iterator[Packet[VideoStream]]":
    """The planned packets, read again; a demuxer that gives others the second time is refused."""
    packets = dropwhile(lambda packet: packet.pts != pts_P[0], packets)
    for pts in pts_P:
        packet = next(packets, None)
        yield packet if packet is not None and packet.pts == pts else _refuse_unstable(pts)


def _refuse_unstable(pts: int) -> NoReturn:
    raise CopyRefused(
        f"packet of pts {pts} is not read twice; two readings must agree; it is encoded", "unstable_demux"
    )
