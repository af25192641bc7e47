"""What a video is, from all its packets and a few key frames: the media columns of VIDEO. Runs in the media child."""

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.media.keyframes import KeyPackets, decode_alone, key_scores, num_key_frames
from curate.media.opening import boxes_end_early, media_errors, open_rules, open_video
from curate.media.timeline import Timeline, exact_time_base, read_timeline
from shards.errors import MediaError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

# FFmpeg's names of AVColorTransferCharacteristic.
_TRANSFERS = {
    **{1: "bt709", 4: "gamma22", 5: "gamma28", 6: "smpte170m", 7: "smpte240m", 8: "linear", 9: "log100", 10: "log316"},
    **{11: "iec61966-2-4", 12: "bt1361e", 13: "iec61966-2-1", 14: "bt2020-10", 15: "bt2020-12", 16: "smpte2084"},
    **{17: "smpte428", 18: "arib-std-b67"},
}
_RATE_TOLERANCE = 0.01


def probe_op(path: str, max_key_frames: int = 8, max_key_share: float = 0.04) -> dict[str, Any]:
    """Demux the chosen stream once and decode some of its key frames.

    Args:
        path: a local file.
        max_key_frames: key frames to decode, at most.
        max_key_share: the same as a share of all frames; one is always decoded.

    Returns:
        `columns`: of VIDEO; `decoded_frames`: how many were decoded.

    Raises:
        MediaError: `no_video_stream`, `unsupported_codec`, `too_many_pixels`, `no_frames` and what opening raises.
    """
    with open_video(path) as container, media_errors(path):
        stream = choose_stream(container)
        prepare_decoder(stream, skip_loop_filter="all", num_threads=1)
        keys = KeyPackets(max_key_frames)
        timeline = read_timeline(container, stream, keys.offer)
        chosen = keys.choose(num_key_frames(timeline.num_packets, max_key_frames, max_key_share))
        frames = decode_alone(stream, chosen)
        columns = _stream_columns(container, stream) | _time_columns(stream, timeline) | _frame_columns(stream, frames)
        columns |= key_scores(frames) | _truncation(path, timeline)
    return {"columns": columns, "decoded_frames": len(frames)}


def choose_stream(container: "InputContainer") -> "VideoStream":
    """The first video stream that is no cover picture.

    Raises:
        MediaError: `no_video_stream`, `unsupported_codec`, `too_many_pixels`.
    """
    streams = video_streams(container)
    if not streams:
        raise MediaError("container has no video stream; one is needed; name another file", "no_video_stream")
    stream = streams[0]
    return checked_stream(stream)


def checked_stream(stream: "VideoStream") -> "VideoStream":
    """The stream, if it can be decoded within the limits.

    Raises:
        MediaError: `unsupported_codec`, `too_many_pixels`.
    """
    context = stream.codec_context
    if context is None:
        raise MediaError(f"stream {stream.index} is of an unknown codec; FFmpeg has no decoder", "unsupported_codec")
    if context.width * context.height > open_rules().max_pixels:
        size = f"{context.width}x{context.height}"
        raise MediaError(f"picture is {size}; see media.limits.max_pixels; raise it", "too_many_pixels")
    return stream


def video_streams(container: "InputContainer") -> list["VideoStream"]:
    """Video streams that are no cover pictures."""
    from av.stream import Disposition

    return [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]


def prepare_decoder(stream: "VideoStream", *, skip_loop_filter: str, num_threads: int) -> None:
    """Set a stream's decoder up before its first packet.

    Args:
        stream: the stream.
        skip_loop_filter: FFmpeg's none, noref or all: which frames go without in-loop deblocking. Of frames that others
            refer to, it makes all that follow drift until the next key frame: enough to move boundaries.
        num_threads: of the decoder.
    """
    context = stream.codec_context
    context.thread_count = num_threads
    context.thread_type = "SLICE" if num_threads == 1 else "AUTO"
    options = {"max_pixels": str(open_rules().max_pixels)}
    context.options = options | ({} if skip_loop_filter == "none" else {"skip_loop_filter": skip_loop_filter})


def _stream_columns(container: "InputContainer", stream: "VideoStream") -> dict[str, Any]:
    context = stream.codec_context
    sar = stream.sample_aspect_ratio or context.sample_aspect_ratio or Fraction(1)
    return {
        "container": container.format.name,
        "stream_index": stream.index,
        "num_video_streams": len(video_streams(container)),
        "codec": context.codec.canonical_name,
        "width": context.width,
        "height": context.height,
        "sar_num": sar.numerator if sar > 0 else 1,
        "sar_den": sar.denominator if sar > 0 else 1,
        "pix_fmt": context.pix_fmt,
        "has_audio": bool(container.streams.audio),
    }


def _time_columns(stream: "VideoStream", timeline: Timeline) -> dict[str, Any]:
    base = exact_time_base(stream)
    rate = _rate(stream.average_rate, timeline, base)
    return {
        "rate_num": rate.numerator,
        "rate_den": rate.denominator,
        "is_vfr": timeline.is_vfr,
        "start_pts": timeline.start_pts,
        "end_pts": timeline.end_pts,
        "time_base_num": base.numerator,
        "time_base_den": base.denominator,
        "num_packets": timeline.num_packets,
    }


def _rate(declared: Fraction | None, timeline: Timeline, base: Fraction) -> Fraction:
    """Frames per second: the container's word if the packets bear it out, else what they say."""
    measured = len(timeline.pts_T) / ((timeline.end_pts - timeline.start_pts) * base)
    if declared and abs(declared / measured - 1) <= _RATE_TOLERANCE:
        return declared
    return measured.limit_denominator(1001)


def _frame_columns(stream: "VideoStream", frames: list["VideoFrame"]) -> dict[str, Any]:
    """What only a decoded picture tells: turn, interlacing, transfer."""
    if not frames:
        return {"rotation_deg": 0, "interlaced": None, "color_transfer": "unknown"}
    frame = frames[0]
    transfer = _TRANSFERS.get(int(frame.color_trc)) or _TRANSFERS.get(int(stream.codec_context.color_trc))
    return {
        "rotation_deg": round(frame.rotation / 90) * 90 % 360,
        "interlaced": any(frame.interlaced_frame for frame in frames),
        "color_transfer": transfer or "unknown",
        "pix_fmt": frame.format.name,
    }


def _truncation(path: str, timeline: Timeline) -> dict[str, Any]:
    """A note on a file that ends early but can be used up to there."""
    if timeline.read_error is not None:
        return {"error": "truncated", "error_detail": f"reading stopped; {timeline.read_error}"}
    if boxes_end_early(Path(path)):
        return {"error": "truncated", "error_detail": "the file ends before its boxes do"}
    return {}
