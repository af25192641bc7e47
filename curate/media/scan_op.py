"""The one decode of a video, inside the media child: small frames and what is measured of them, sparse model frames.

Every picture is shrunk from the decoder's own planes, and only files grow with the video's length. A coarse pass leaves
out frames that no other frame refers to, at a pace that fits the video; a file whose packets do not all decode gets a
full pass, so that what is lost is known.
"""

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import cv2
import numpy as np
from av.error import FFmpegError

from curate.media.opening import media_errors, open_video, refuse_lack_of_memory
from curate.media.pace import FULL, Pace, can_skip
from curate.media.planes import Planes, SmallFrames, bgr, planes_of
from curate.media.probe import checked_stream, prepare_decoder
from curate.media.timeline import Timeline, exact_time_base, packets, read_timeline
from curate.scenes.features import FeatureMeter
from shards.errors import MediaError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

# More frames than this share out of order: the container has times of decoding only, and no frame can be told by them.
_MAX_UNORDERED_SHARE = 0.05


@dataclass(frozen=True)
class ModelFrames:
    """The sparse frames: the first frame at or after each multiple of the interval since the start.

    Attributes:
        interval_pts: distance in pts, a fraction.
        width, height: in px before the turn.
        rotation_deg: counter-clockwise turn that shows them upright.
        jpeg_quality: 1 to 100.
    """

    interval_pts: Fraction
    width: int
    height: int
    rotation_deg: int
    jpeg_quality: int

    def jpeg(self, planes: Planes) -> bytes:
        """One frame, encoded."""
        picture = bgr(planes, self.width, self.height, self.rotation_deg)
        done, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, self.jpeg_quality])
        if not done:
            raise MediaError(f"frame of {self.width}x{self.height} px does not encode to JPEG", "jpeg_failed")
        return data.tobytes()


@dataclass
class _Tally:
    pts: list[int] = field(default_factory=list)
    model_pts: list[int] = field(default_factory=list)
    model_bytes: list[int] = field(default_factory=list)
    num_decoded: int = 0
    num_converted: int = 0
    num_unordered: int = 0
    num_ambiguous: int = 0
    num_decode_errors: int = 0
    skippable_pts: list[int] = field(default_factory=list)
    meter: FeatureMeter = field(default_factory=FeatureMeter)

    @property
    def is_sound(self) -> bool:
        """Whether every frame that is missing was left out on purpose."""
        return not (self.num_decode_errors or self.num_unordered or self.num_ambiguous)


def scan_op(
    path: str,
    stream_index: int,
    rotation_deg: int,
    small_size: tuple[int, int],
    model_size: tuple[int, int],
    model_interval_s: str,
    jpeg_quality: int,
    skip_loop_filter: str,
    coarse: bool,
    num_threads: int,
    out: str,
) -> dict[str, Any]:
    """Decode one stream from start to end.

    Args:
        path: a local file.
        stream_index: of the stream in the container.
        rotation_deg: counter-clockwise turn that shows it upright.
        small_size: width and height of small frames before the turn, multiples of 4.
        model_size: width and height of model frames before the turn.
        model_interval_s: seconds between model frames, as a fraction.
        jpeg_quality: of model frames.
        skip_loop_filter: none, noref or all: frames without in-loop deblocking, where the codec has a switch for it.
        coarse: leave out frames that no other frame refers to, where the decoder can and it pays.
        num_threads: of the decoder.
        out: prefix of the files written: .i420, .jpegs, .npz (times, sizes, features).

    Returns:
        Counts: decoded_frames, converted_frames, unordered_frames, ambiguous_frames, decode_errors, unskippable_frames.

    Raises:
        MediaError: `no_frames_decoded`, `no_presentation_times` and what opening raises.
    """
    cv2.setNumThreads(1)
    with open_video(path, decode_head=False) as container, media_errors(path):
        stream = stream_of(container, stream_index)
        timeline, base = read_timeline(container, stream), exact_time_base(stream)
    coarse = coarse and timeline.read_error is None and not len(timeline.ambiguous_pts)
    models = ModelFrames(Fraction(model_interval_s) / base, *model_size, rotation_deg, jpeg_quality)

    def one_pass(coarse: bool) -> tuple[_Tally, bool]:
        with open_video(path, decode_head=False) as container, media_errors(path):
            stream = stream_of(container, stream_index)
            prepare_decoder(stream, skip_loop_filter=skip_loop_filter, num_threads=num_threads)
            pace = Pace(timeline) if coarse and can_skip(stream) else None
            tally = _Tally()
            with Path(f"{out}.i420").open("wb", 1 << 20) as small_file, Path(f"{out}.jpegs").open("wb") as jpeg_file:
                small = SmallFrames(*small_size, rotation_deg)
                writer = _Writer(timeline, small, models, small_file, jpeg_file, tally, pace)
                for frame in _decoded(container, stream, tally, pace):
                    writer.see(frame)
                    if pace and not tally.is_sound:
                        break
        return tally, pace is not None

    tally, is_paced = one_pass(coarse)
    num_vain = 0
    if is_paced and not tally.is_sound:
        num_vain = tally.num_decoded
        tally, _ = one_pass(coarse=False)
    return _finish(timeline, tally, out) | {
        "decoded_frames": tally.num_decoded + num_vain,
        "unskippable_frames": len(timeline.pts_T) if coarse and not is_paced else 0,
    }


@dataclass
class _Writer:
    """Writes each frame that has a place in the timeline."""

    timeline: Timeline
    small: SmallFrames
    models: ModelFrames
    small_file: BinaryIO
    jpeg_file: BinaryIO
    tally: _Tally
    pace: Pace | None

    def __post_init__(self) -> None:
        self._ambiguous = set(self.timeline.ambiguous_pts.tolist())
        self._last_pts = self.timeline.start_pts - 1
        self._next_model_pts = Fraction(self.timeline.start_pts)

    def see(self, frame: "VideoFrame") -> None:
        """Take one decoded frame."""
        tally, pts = self.tally, frame.pts
        tally.num_decoded += 1
        if pts in self._ambiguous:
            tally.num_ambiguous += 1
            return
        if pts is None or pts <= self._last_pts:
            tally.num_unordered += 1
            return
        self._last_pts = pts
        planes = planes_of(frame)
        tally.num_converted += planes.is_converted
        small = self.small.make(planes)
        self.small_file.write(small.data)
        change = tally.meter.see(self.small.as_picture(small))
        tally.pts.append(pts)
        if self.pace:
            self.pace.saw(pts, change)
        if pts >= self._next_model_pts:
            self._write_jpeg(pts, planes)

    def _write_jpeg(self, pts: int, planes: Planes) -> None:
        jpeg = self.models.jpeg(planes)
        self.jpeg_file.write(jpeg)
        self.tally.model_pts.append(pts)
        self.tally.model_bytes.append(len(jpeg))
        start, interval = self.timeline.start_pts, self.models.interval_pts
        self._next_model_pts = start + ((pts - start) // interval + 1) * interval


def stream_of(container: "InputContainer", index: int) -> "VideoStream":
    """A stream by its index.

    Raises:
        MediaError: `no_video_stream`, `unsupported_codec`, `too_many_pixels`.
    """
    for stream in container.streams.video:
        if stream.index == index:
            return checked_stream(stream)
    raise MediaError(f"stream is {index}; the container has no such video stream; probe it anew", "no_video_stream")


def _decoded(
    container: "InputContainer", stream: "VideoStream", tally: _Tally, pace: Pace | None
) -> "Iterator[VideoFrame]":
    """All frames that the decoder gives, in its order, that of presentation; undecodable packets are counted."""

    def ignore(_: str) -> None:
        """Reading ends where it ended for the timeline."""

    context = stream.codec_context
    for packet in packets(container, stream, ignore):
        if pace:
            skip = pace.skip_for(packet)
            if context.skip_frame != skip:
                context.skip_frame = skip
            if skip != FULL and packet.pts is not None:
                tally.skippable_pts.append(packet.pts)
        try:
            yield from context.decode(packet)
        except FFmpegError as error:
            refuse_lack_of_memory(error)
            tally.num_decode_errors += 1
    try:
        yield from context.decode(None)
    except FFmpegError as error:
        refuse_lack_of_memory(error)
        tally.num_decode_errors += 1


def _finish(timeline: Timeline, tally: _Tally, out: str) -> dict[str, Any]:
    if not tally.num_decoded:
        raise MediaError(
            f"decoder gave 0 frames for {timeline.num_packets} packets; the file is damaged", "decode_error"
        )
    if tally.num_unordered > 1 and tally.num_unordered > _MAX_UNORDERED_SHARE * tally.num_decoded:
        told = f"{tally.num_unordered} of {tally.num_decoded} frames come out of order"
        raise MediaError(f"{told}; the container has no times of presentation; remux it", "no_presentation_times")
    if not tally.pts:
        told = f"all {tally.num_decoded} frames share their time with others"
        raise MediaError(f"{told}; each frame needs its own; remux it", "no_presentation_times")
    pts_T = np.array(tally.pts, np.int64)
    missing = np.setdiff1d(timeline.pts_T, pts_T, assume_unique=True)
    is_hidden = np.isin(missing, np.array(tally.skippable_pts, np.int64))
    arrays: dict[str, Any] = {
        "pts_T": pts_T,
        "lost_pts": missing[~is_hidden],
        "hidden_pts": missing[is_hidden],
        "model_pts": np.array(tally.model_pts, np.int64),
        "model_bytes": np.array(tally.model_bytes, np.int64),
    }
    arrays |= tally.meter.features().as_arrays()
    np.savez(f"{out}.npz", **arrays)
    return {
        "end_pts": timeline.end_pts,
        "decoded_frames": tally.num_decoded,
        "converted_frames": tally.num_converted,
        "unordered_frames": tally.num_unordered,
        "ambiguous_frames": tally.num_ambiguous,
        "decode_errors": tally.num_decode_errors,
    }
