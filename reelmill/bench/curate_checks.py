"""What became of the frames: boundaries against the truth, clips against their plans, seconds without a record."""

import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from curate.media.opening import ffmpeg_path

WIDTH, HEIGHT = 64, 36
NEAR = 3  # frames on either side among which the planned one must be the likest


@dataclass(frozen=True)
class MadeClip:
    """A clip that a tool made.

    Attributes:
        source: name of the video.
        start_frame, end_frame: of the source, as the tool itself planned them; half-open.
        path: its file; None if it was planned and is not there.
    """

    source: str
    start_frame: int
    end_frame: int
    path: Path | None


def boundary_f1(found: Mapping[str, Iterable[int]], truth: Mapping[str, Iterable[int]], tolerance: int) -> float:
    """F1 over all videos with a truth; a boundary counts once, for the nearest within `tolerance` frames."""
    hits = num_found = num_true = 0
    for name, cuts in truth.items():
        left = sorted(set(found.get(name, ())))
        true = sorted(cuts)
        num_found, num_true = num_found + len(left), num_true + len(true)
        for cut in true:
            near = min(left, key=lambda frame: abs(frame - cut), default=None)
            if near is not None and abs(near - cut) <= tolerance:
                left.remove(near)
                hits += 1
    return 2 * hits / (num_found + num_true) if num_found + num_true else 1.0


def boundaries(clips: Iterable[MadeClip]) -> dict[str, list[int]]:
    """First frames of a tool's clips, but not the videos' own first one."""
    found: dict[str, list[int]] = {}
    for clip in clips:
        if clip.start_frame > 0:
            found.setdefault(clip.source, []).append(clip.start_frame)
    return found


def is_exact(clip: MadeClip, source: Path) -> bool:
    """Whether a clip shows as many frames as planned, and its first and last are the planned ones of the source."""
    if clip.path is None:
        return False
    shown_THW, source_THW = small_frames(clip.path), source_frames(source)
    if len(shown_THW) != clip.end_frame - clip.start_frame or not len(shown_THW):
        return False
    ends = ((shown_THW[0], clip.start_frame), (shown_THW[-1], clip.end_frame - 1))
    return all(_is_likest(frame_HW, source_THW, place) for frame_HW, place in ends)


def small_frames(path: Path) -> np.ndarray:
    """uint8 grey (T, H, W): what ffmpeg shows of a file, every frame as it is stored; none if it cannot be read."""
    command = [ffmpeg_path(), "-nostdin", "-v", "error", "-i", str(path), "-map", "0:v:0", "-fps_mode", "passthrough"]
    command += ["-vf", f"scale={WIDTH}:{HEIGHT}:flags=area,format=gray", "-f", "rawvideo", "-"]
    raw = subprocess.run(command, capture_output=True, check=False).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, HEIGHT, WIDTH)


@lru_cache(maxsize=2)
def source_frames(path: Path) -> np.ndarray:
    """As `small_frames`, kept for the clips of one source."""
    return small_frames(path)


def unaccounted_s(
    num_frames: Mapping[str, int], rate: Mapping[str, float], clips: Sequence[MadeClip], recorded: Iterable[str]
) -> float:
    """Seconds of sources that are in no clip that is there, and of which the tool left no record.

    Args:
        num_frames: of each source.
        rate: frames a second of each source.
        clips: what the tool made.
        recorded: sources whose missing frames the tool reports: as rejected, failed, or by an exit code.
    """
    known = set(recorded)
    lost = 0.0
    for name, total in num_frames.items():
        if name in known:
            continue
        held = np.zeros(total, bool)
        for clip in clips:
            if clip.source == name and clip.path is not None:
                held[clip.start_frame : clip.end_frame] = True
        lost += float((~held).sum()) / rate[name]
    return lost


def _is_likest(frame_HW: np.ndarray, source_THW: np.ndarray, place: int) -> bool:
    first = max(0, place - NEAR)
    near_THW = source_THW[first : place + NEAR + 1].astype(np.float32)
    errors_T = ((near_THW - frame_HW.astype(np.float32)) ** 2).mean(axis=(1, 2))
    return bool(len(errors_T)) and errors_T[place - first] <= errors_T.min() + 1e-3
