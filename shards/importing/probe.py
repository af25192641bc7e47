"""What the index must say of a clip, from its bytes: every frame is decoded once, so that what is imported also plays.

The bytes are a stranger's: `probe_op` runs in a child, and `Prober` is the one way to it.
"""

import contextlib
import os
import tempfile
import time
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

from shards.errors import MediaError
from shards.isolation.child import Child
from shards.reading.config import ChildLimits

UNDECODABLE = "undecodable"
_MAX_FRAMES = 100_000
_TRANSFERS = {
    **{1: "bt709", 4: "gamma22", 5: "gamma28", 6: "smpte170m", 7: "smpte240m", 8: "linear", 9: "log100", 10: "log316"},
    **{11: "iec61966-2-4", 12: "bt1361e", 13: "iec61966-2-1", 14: "bt2020-10", 15: "bt2020-12", 16: "smpte2084"},
    **{17: "smpte428", 18: "arib-std-b67"},
}  # numbers of ITU-T H.273


class Prober:
    """Asks a child for the facts of clips; one thread uses it. A child that a clip kills is replaced.

    The bytes are read once, here, and reach the child through shared memory: what it decodes is what was hashed.
    """

    def __init__(self, limits: ChildLimits) -> None:
        self.limits = limits
        self._fd = os.memfd_create("reelmill-import", os.MFD_CLOEXEC)
        settings = {"memory_bytes": limits.memory_bytes, "file_bytes": 1 << 20}
        folder = Path(tempfile.gettempdir())
        self._child = Child("shards.importing.probe_process", settings, folder, "the import's child", fds=(self._fd,))

    def probe(self, mp4: bytes) -> dict[str, Any]:
        """Columns of a sample, see `probe_clip`.

        Raises:
            MediaError: the clip is no MP4 that decodes from its first to its last frame, within the limits.
        """
        deadline = time.monotonic() + self.limits.deadline_s
        self._child.start(deadline)
        with open(self._fd, "wb", closefd=False) as shared:
            shared.truncate(0)
            shared.seek(0)
            shared.write(mp4)
        arguments = {"fd": self._fd, "size": len(mp4)}
        request = {"op": "probe", "arguments": arguments, "cpu_s": self.limits.cpu_s}
        answer = self._child.ask("probe", request, deadline)
        if "error" in answer:
            raise MediaError(answer["error"]["message"], answer["error"]["code"])
        return answer["result"]

    def close(self) -> None:
        """End the child."""
        self._child.close()
        os.close(self._fd)


def probe_op(fd: int, size: int) -> dict[str, Any]:
    """`probe_clip` of the memory behind a file descriptor, in the child."""
    with open(fd, "rb", closefd=False) as shared:
        shared.seek(0)
        return probe_clip(shared.read(size))


def probe_clip(mp4: bytes) -> dict[str, Any]:
    """Columns of a sample that its bytes tell.

    Returns:
        codec, width, height, rotation_deg, sar_num, sar_den, pix_fmt, color_transfer, num_frames, preroll_frames,
        frame_pts, time_base_num, time_base_den, end_pts (past the last frame, exclusive).

    Raises:
        MediaError: `not_mp4`, `no_video`, `undecodable`, `bad_times`, `too_many_frames`.
    """
    from av.error import FFmpegError

    from shards.reading.decode import open_clip

    try:
        container = open_clip(mp4)
    except FFmpegError as error:
        raise MediaError(f"{error}; the clip is no MP4", "not_mp4") from error
    with contextlib.closing(container):
        if not container.streams.video:
            raise MediaError("the file has no video stream", "no_video")
        stream = container.streams.video[0]
        stream.thread_count, stream.thread_type = 1, "NONE"
        pts: list[int] = []
        frame = first = None
        try:
            for frame in container.decode(stream):
                first = first or frame
                if frame.pts is None or len(pts) == _MAX_FRAMES:
                    break
                pts.append(frame.pts)
        except (FFmpegError, IndexError) as error:
            raise MediaError(f"{error} after {len(pts)} frames", UNDECODABLE) from error
        if first is None or frame is None:
            raise MediaError("no frame is presented", UNDECODABLE)
        end_pts = _end_pts(pts, frame)
        return _picture(stream, first) | _times(stream, pts, end_pts)


def _times(stream: Any, pts: list[int], end_pts: int) -> dict[str, Any]:
    base: Fraction = stream.time_base
    return {
        "num_frames": len(pts),
        "preroll_frames": 0,
        "frame_pts": pts,
        "time_base_num": base.numerator,
        "time_base_den": base.denominator,
        "end_pts": end_pts,
    }


def _end_pts(pts: Sequence[int], last: Any) -> int:
    """Past the last frame: by its own duration, else as long as the one before."""
    if last.pts is None or any(later <= earlier for earlier, later in pairwise(pts)):
        raise MediaError("frames are not shown one after the other", "bad_times")
    if last.pts != pts[-1]:
        raise MediaError(f"the clip has more than {_MAX_FRAMES} frames", "too_many_frames")
    return pts[-1] + (last.duration or (pts[-1] - pts[-2] if len(pts) > 1 else 1))


def _picture(stream: Any, frame: Any) -> dict[str, Any]:
    context = stream.codec_context
    sar = stream.sample_aspect_ratio or context.sample_aspect_ratio or Fraction(1)
    return {
        "codec": context.codec.canonical_name,
        "width": frame.width,
        "height": frame.height,
        "rotation_deg": round(frame.rotation / 90) * 90 % 360,
        "sar_num": sar.numerator if sar > 0 else 1,
        "sar_den": sar.denominator if sar > 0 else 1,
        "pix_fmt": frame.format.name,
        "color_transfer": _TRANSFERS.get(int(frame.color_trc), "unknown"),
    }
