"""Frames to a file, in the codecs, containers and rates that raw footage comes in; one thread, so the same bytes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.video.stream import VideoStream

# Without mbtree: on pictures this small it gave other bytes about one time in ten (x264 165, one thread).
_X264 = {"preset": "veryfast", "crf": "18", "bf": "2", "g": "48", "x264-params": "mbtree=0"}
_X265 = {"preset": "ultrafast", "crf": "18", "x265-params": "pools=none:frame-threads=1:keyint=48:log-level=none"}
_VP9 = {"deadline": "realtime", "cpu-used": "8", "crf": "22", "b": "0", "g": "48"}
_MPEG4 = {"q": "2", "qmin": "2", "qmax": "4", "g": "24"}


@dataclass(frozen=True)
class Recipe:
    """How one raw file is encoded; `rate` is the rate of ticks, of which a VFR file skips some."""

    encoder: str
    codec: str
    suffix: str
    rate: Fraction
    options: Mapping[str, str]
    is_vfr: bool = False


RECIPES = (
    Recipe("libx264", "h264", ".mp4", Fraction(24), _X264),
    Recipe("libvpx-vp9", "vp9", ".webm", Fraction(15), _VP9),
    Recipe("libx264", "h264", ".mkv", Fraction(12), _X264),
    Recipe("libx264", "h264", ".mp4", Fraction(24), _X264, is_vfr=True),
    Recipe("libx265", "hevc", ".mp4", Fraction(15), _X265),
    Recipe("libx264", "h264", ".mp4", Fraction(30000, 1001), _X264),
    Recipe("mpeg4", "mpeg4", ".avi", Fraction(12), _MPEG4),
    Recipe("libx264", "h264", ".mov", Fraction(15), _X264),
)


def write_video(path: Path, frames: Iterable[np.ndarray], ticks: Sequence[int], recipe: Recipe, size_px: int) -> None:
    """Encode uint8 RGB frames, shape (H, W, C), square, shown at `ticks` of 1 / recipe.rate; atomically."""
    temporary = path.with_name(f".{path.name}.part{path.suffix}")
    with av.open(str(temporary), "w", container_options={"fflags": "+bitexact"}) as container:
        options = {**recipe.options, "flags": "+bitexact"}
        stream = cast(VideoStream, container.add_stream(recipe.encoder, rate=recipe.rate, options=options))
        stream.width = stream.height = size_px
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        stream.codec_context.time_base = 1 / recipe.rate
        for tick, frame_HWC in zip(ticks, frames, strict=True):
            container.mux(stream.encode(_video_frame(frame_HWC, tick, recipe)))
        container.mux(stream.encode())
    temporary.replace(path)


def _video_frame(frame_HWC: np.ndarray, tick: int, recipe: Recipe) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(cast(Any, frame_HWC), format="rgb24")
    frame.pts, frame.time_base = tick, 1 / recipe.rate
    return frame
