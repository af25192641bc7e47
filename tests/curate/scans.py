"""Scans built from arrays: small frames on disk as the scan leaves them, without a decoder."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from curate.scan import Scan, Span
from curate.scenes.features import FeatureMeter

WIDTH, HEIGHT = 128, 72
TIME_BASE = Fraction(1, 25)


def texture(seed: int, mean: int = 128, spread: int = 45) -> np.ndarray:
    """A smooth random RGB picture, different for each seed: uint8 (72, 128, 3)."""
    noise = np.random.default_rng(seed).normal(0, 1, (9, 16, 3)).astype(np.float32)
    picture = cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    return np.clip(mean + spread * picture, 0, 255).astype(np.uint8)


def panned(picture: np.ndarray, num_frames: int, step_px: float = 0.5) -> list[np.ndarray]:
    """A shot: the picture drifting to the left."""
    shifts = [np.array([[1, 0, -step_px * index], [0, 1, 0]], np.float32) for index in range(num_frames)]
    return [cv2.warpAffine(picture, shift, (WIDTH, HEIGHT), borderMode=cv2.BORDER_WRAP) for shift in shifts]


def flat(level: int, num_frames: int) -> list[np.ndarray]:
    """Frames of one grey."""
    return [np.full((HEIGHT, WIDTH, 3), level, np.uint8)] * num_frames


def mixed(before: Sequence[np.ndarray], after: Sequence[np.ndarray]) -> list[np.ndarray]:
    """A linear transition over as many frames, none of which is purely one or the other."""
    weights = (np.arange(len(before)) + 1) / (len(before) + 1)
    return [cv2.addWeighted(a, 1 - w, b, w, 0) for a, b, w in zip(before, after, weights, strict=True)]


def i420(frames: Sequence[np.ndarray]) -> np.ndarray:
    """RGB frames as small frames of the scan: uint8 (T, H * 3 / 2, W)."""
    return np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420) for frame in frames])


def span_of(grey_THW: np.ndarray, pts: Sequence[int] | None = None, time_base: Fraction = TIME_BASE) -> Span:
    """A span whose luma is given; chroma is grey."""
    num_frames, height, width = grey_THW.shape
    chroma = np.full((num_frames, height // 2, width), 128, np.uint8)
    pts_T = np.array(range(num_frames) if pts is None else pts, np.int64)
    return Span(pts_T, int(pts_T[-1]) + 1 if num_frames else 0, time_base, np.concatenate([grey_THW, chroma], axis=1))


def scan_of(
    folder: Path,
    frames: Sequence[np.ndarray],
    pts: Sequence[int] | None = None,
    end_pts: int | None = None,
    lost: Sequence[int] = (),
    time_base: Fraction = TIME_BASE,
    seen: Sequence[int] | None = None,
) -> Scan:
    """A scan of RGB frames, at 25 frames/s unless told otherwise; `seen` are those that a coarse pass did not skip."""
    path = folder / "small.i420"
    seen = range(len(frames)) if seen is None else seen
    small_SHW = i420([frames[index] for index in seen]) if frames else np.zeros((0, HEIGHT * 3 // 2, WIDTH), np.uint8)
    path.write_bytes(small_SHW.tobytes())
    meter = FeatureMeter()
    for small_HW in small_SHW:
        meter.see(small_HW)
    pts_T = np.array(range(len(frames)) if pts is None else pts, np.int64)
    last = max([*pts_T.tolist(), *lost, -1])
    end = last + 1 if end_pts is None else end_pts
    return Scan(
        path,
        pts_T,
        end,
        time_base,
        HEIGHT,
        WIDTH,
        np.array(lost, np.int64),
        np.array(seen, np.int64),
        np.arange(len(seen)),
        meter.features(),
    )


def video_row_of(scan: Scan, start_pts: int = 0, end_pts: int | None = None) -> dict[str, Any]:
    """The row of VIDEO, as far as scenes need it."""
    return {
        "video_id": "0123456789abcdef",
        "stream_index": 0,
        "start_pts": start_pts,
        "end_pts": scan.end_pts if end_pts is None else end_pts,
        "time_base_num": scan.time_base.numerator,
        "time_base_den": scan.time_base.denominator,
    }
