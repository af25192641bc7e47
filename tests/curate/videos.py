"""Small videos drawn by the tests: a bright square that moves over a gradient, in any codec and container of FFmpeg."""

import subprocess
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.video.stream import VideoStream

from curate.media.opening import ffmpeg_path


def moving_square(num_frames: int, width: int = 160, height: int = 96, step_px: int = 4) -> np.ndarray:
    """uint8 RGB, shape (T, H, W, 3): a white 16 px square that moves right by `step_px` a frame, and wraps."""
    across_HW = np.broadcast_to(np.linspace(40, 120, width), (height, width))
    background_HWC = np.stack([across_HW, across_HW, np.full((height, width), 80)], axis=-1).astype(np.uint8)
    frames_THWC = np.repeat(background_HWC[None], num_frames, axis=0)
    for index, frame_HWC in enumerate(frames_THWC):
        left = index * step_px % (width - 16)
        frame_HWC[height // 2 - 8 : height // 2 + 8, left : left + 16] = 255
    return frames_THWC


def grey_levels(levels: Iterable[int], width: int = 160, height: int = 96) -> np.ndarray:
    """uint8 RGB, shape (T, H, W, 3): frames of one level each."""
    return np.stack([np.full((height, width, 3), level, np.uint8) for level in levels])


def write_video(
    path: Path,
    frames_THWC: np.ndarray,
    rate: int | Fraction = 25,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    pts: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    muxer: dict[str, str] | None = None,
) -> Path:
    """Encode frames; `pts` (in `time_base`, default 1 / rate) makes the rate variable."""
    base = time_base or 1 / Fraction(rate)
    height, width = frames_THWC.shape[1:3]
    with av.open(str(path), "w", options=muxer or {}) as container:
        stream = cast(VideoStream, container.add_stream(codec, rate=rate, options=options or {}))
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.codec_context.time_base = base
        stream.codec_context.thread_count = 1
        for index, frame_HWC in enumerate(frames_THWC):
            frame = av.VideoFrame.from_ndarray(frame_HWC, format="rgb24")
            frame.pts, frame.time_base = (pts[index] if pts else index), base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_audio(path: Path, duration_s: float = 0.5) -> Path:
    """A file with an audio stream only."""
    ffmpeg("-f", "lavfi", "-i", f"sine=d={duration_s}", "-c:a", "aac", str(path))
    return path


def ffmpeg(*arguments: str) -> str:
    """Run the pinned ffmpeg; returns what it writes to stdout."""
    command = [ffmpeg_path(), "-nostdin", "-v", "error", "-y", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def ffmpeg_pts(path: Path) -> list[int]:
    """Pts of the frames that the ffmpeg binary decodes: a witness that shares no code of ours."""
    out = ffmpeg(
        "-copyts",
        "-i",
        str(path),
        "-map",
        "0:v:0",
        "-fps_mode",
        "passthrough",
        "-enc_time_base",
        "demux",
        "-f",
        "framemd5",
        "-",
    )
    return [int(line.split(",")[2]) for line in out.splitlines() if not line.startswith("#")]
