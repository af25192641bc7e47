"""What a decoder makes of a clip file: which frames it presents, when, and whether they are the source's."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.clips.packets import CopyRefused, PacketReader, read_marks
from curate.media.opening import open_video
from curate.media.probe import prepare_decoder
from curate.media.timeline import exact_time_base
from shards.errors import ClipError
from shards.frames_digest import frame_hash, frames_digest

if TYPE_CHECKING:
    from av import Packet
    from av.video import VideoFrame, VideoStream


class CutNotExact(ClipError):
    """A clip file does not present exactly the planned frames."""

    code = "cut_not_exact"


@dataclass(frozen=True)
class Presented:
    """A clip file, decoded once by a decoder that follows its edit list.

    Attributes:
        frame_pts: time of each presented frame, in the file's time base.
        time_base_num, time_base_den: seconds per pts.
        decoded_frames: packets that were given to the decoder: presented and hidden ones.
        preroll_frames: packets that are presented before the first presented one if the edit list is ignored.
        corrupt_frames: presented frames that the decoder could not make whole.
        width, height: coded size in px.
        rotation_deg: counter-clockwise turn that shows the picture upright.
        sar_num, sar_den: sample aspect ratio, 1 if unknown.
        pix_fmt, codec: FFmpeg's names.
        size_bytes: of the file.
    """

    frame_pts: Sequence[int]
    time_base_num: int
    time_base_den: int
    decoded_frames: int
    preroll_frames: int
    corrupt_frames: int
    width: int
    height: int
    rotation_deg: int
    sar_num: int
    sar_den: int
    pix_fmt: str
    codec: str
    size_bytes: int

    def as_json(self) -> dict[str, Any]:
        """The values by name."""
        return asdict(self)


def decode_clip(path: Path) -> Presented:
    """Decode a clip file and say what it presents; the loop filter is left out, which changes no count and no time.

    Raises:
        CutNotExact: it presents no frame at all.
        MediaError: it cannot be opened.
    """
    frame_pts: list[int] = []
    packet_pts: list[int] = []
    corrupt = rotation_deg = 0
    with open_video(path) as container:
        stream = container.streams.video[0]
        prepare_decoder(stream, skip_loop_filter="all", num_threads=1)
        for packet in container.demux(stream):
            if packet.size and packet.pts is not None:
                packet_pts.append(packet.pts)
            for frame in packet.decode():
                frame_pts.append(_pts_of(frame))
                corrupt += frame.is_corrupt
                rotation_deg = round(frame.rotation / 90) * 90 % 360
        if not frame_pts:
            raise CutNotExact(f"{path.name} presents 0 frames; at least one is planned; see the source's damage")
        return Presented(
            frame_pts=frame_pts,
            decoded_frames=len(packet_pts),
            preroll_frames=sum(pts < frame_pts[0] for pts in packet_pts),
            corrupt_frames=corrupt,
            rotation_deg=rotation_deg,
            size_bytes=path.stat().st_size,
            **_picture(stream),
        )


def check_presented(presented: Presented, num_frames: int, planned_pts: Sequence[int] | None = None) -> None:
    """Refuse a clip that does not present exactly what was planned.

    Args:
        presented: what was decoded.
        num_frames: frames of the plan.
        planned_pts: times that a presented frame may have, in the clip's time base; None if only the count is known.

    Raises:
        CutNotExact: `wrong_count`, `wrong_times`, or `corrupt_frames` (frames that could not be decoded whole).
    """
    times = presented.frame_pts
    if len(times) != num_frames:
        raise CutNotExact(f"clip presents {len(times)} frames; {num_frames} are planned; see cut.mode", "wrong_count")
    if any(after <= before for before, after in pairwise(times)):
        raise CutNotExact("times of the clip's frames do not increase; they must; see cut.mode", "wrong_times")
    if planned_pts is not None and not set(times) <= set(planned_pts):
        other = sorted(set(times) - set(planned_pts))[:3]
        raise CutNotExact(f"clip presents frames at {other}; none is planned there; see cut.mode", "wrong_times")
    if presented.corrupt_frames:
        damage = f"{presented.corrupt_frames} frames of the clip are damaged"
        raise CutNotExact(f"{damage}; none may be; see cut.mode", "corrupt_frames")


@dataclass(frozen=True)
class Compared:
    """A clip's pictures, decoded in full.

    Attributes:
        decoded_digest: digest of its frames.
        decoded_frames: decoded for it.
    """

    decoded_digest: int
    decoded_frames: int


def digest_frames(clip: Path) -> Compared:
    """Digest of the frames that a clip presents."""
    hashes = _shown_hashes(clip)
    return Compared(frames_digest(hashes), len(hashes))


def check_same_frames(clip: Path, source: Path, stream_index: int, start_pts: int, end_pts: int) -> Compared:
    """Refuse a copied clip of which any frame differs from the source's: both are decoded in full.

    Raises:
        CutNotExact: `other_pictures`.
    """
    shown = _shown_hashes(clip)
    wanted = [frame_hash(frame) for frame in source_frames(source, stream_index, start_pts, end_pts)]
    differing = sum(one != other for one, other in zip(shown, wanted, strict=False)) + abs(len(shown) - len(wanted))
    if differing:
        what = f"{differing} of {len(wanted)} frames differ from the source's"
        raise CutNotExact(f"{what}; none may; see cut.mode", "other_pictures")
    return Compared(frames_digest(wanted), len(shown) + len(wanted))


def _shown_hashes(clip: Path) -> list[int]:
    with open_video(clip) as container:
        return [frame_hash(frame) for frame in container.decode(container.streams.video[0])]


def source_frames(source: Path, stream_index: int, start_pts: int, end_pts: int) -> "Iterator[VideoFrame]":
    """Frames of a span, decoded from one key frame earlier than a copy begins at, so that none lacks a reference."""
    with PacketReader(source, stream_index) as reader:
        key_pts = read_marks(reader.packets_from(start_pts), start_pts, end_pts)[0].pts
        try:
            packets = reader.packets_from(key_pts - 1)
        except CopyRefused:  # it is the first one
            packets = reader.packets_from(key_pts)
        for frame in _decoded(packets, reader.stream):
            if frame.pts is not None and frame.pts >= end_pts:
                return
            if frame.pts is not None and frame.pts >= start_pts:
                yield frame


def _decoded(packets: "Iterator[Packet[VideoStream]]", stream: "VideoStream") -> "Iterator[VideoFrame]":
    for packet in packets:
        yield from packet.decode()
    yield from stream.decode(None)


def _pts_of(frame: "VideoFrame") -> int:
    if frame.pts is None:
        raise CutNotExact("clip presents a frame without a time; each needs one; see cut.mode")
    return frame.pts


def _picture(stream: "VideoStream") -> dict[str, Any]:
    context = stream.codec_context
    aspect = stream.sample_aspect_ratio or context.sample_aspect_ratio or Fraction(1)
    base = exact_time_base(stream)
    return {
        "time_base_num": base.numerator,
        "time_base_den": base.denominator,
        "width": context.width,
        "height": context.height,
        "sar_num": aspect.numerator,
        "sar_den": aspect.denominator,
        "pix_fmt": context.pix_fmt,
        "codec": context.codec.canonical_name,
    }
