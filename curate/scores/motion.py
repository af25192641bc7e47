"""How much moves in a clip: luma change, optical flow, the share that stands still, the share that is the camera."""

from collections.abc import Mapping
from itertools import pairwise

import cv2
import numpy as np
import pyarrow as pa
from pydantic import Field

from curate.scan import Span
from curate.stage import Clip, SpanStage
from shards.config import Config
from shards.errors import ClipTooShort
from shards.schema import column


class MotionConfig(Config):
    """How motion is sampled, and what counts as still."""

    change_step_s: float = Field(
        default=0.08, gt=0, description="Distance of the frames whose luma is compared; neighbours if farther apart."
    )

    flow_pairs_per_s: float = Field(
        default=4.0, gt=0, description="Pairs of neighbouring frames, of those seen, for optical flow, per second."
    )
    still_distance_s: float = Field(
        default=0.5, gt=0, description="Frames so far apart are compared to see what stands still."
    )
    still_step_levels: int = Field(
        default=8, ge=1, description="A pixel has changed if its luma differs by more than this."
    )
    still_max_share: float = Field(
        default=0.001, ge=0, description="At most this share of pixels changes in a still pair."
    )


def luma_change(grey_THW: np.ndarray, time_T: np.ndarray, step_s: float) -> float:
    """Mean absolute luma change between frames a fixed time apart, per second.

    Noise changes neighbours as much as distant frames, so between neighbours it would count by the rate of frames, and
    by how many of them a coarse pass saw.

    Args:
        grey_THW: uint8 luma, shape (T, H, W).
        time_T: presentation time of each frame, seconds, increasing.
        step_s: seconds between the frames, about; neighbours where frames are farther apart.

    Returns:
        Luma levels per second, >= 0; 0.0 is a still.

    Raises:
        ClipTooShort: fewer than two frames.

    Source: the luma term of PySceneDetect's content score, divided by time.
    """
    _need_two(grey_THW)
    num_steps = max(1, round((time_T[-1] - time_T[0]) / step_s))
    instants = np.linspace(time_T[0], time_T[-1], num_steps + 1)
    nearest = np.unique(np.searchsorted((time_T[1:] + time_T[:-1]) / 2, instants))
    steps = sum(cv2.norm(grey_THW[now], grey_THW[before], cv2.NORM_L1) for before, now in pairwise(nearest.tolist()))
    return float(steps / grey_THW[0].size / (time_T[-1] - time_T[0]))


def flow_pairs(time_T: np.ndarray, pairs_per_s: float) -> list[int]:
    """Indices of the first frame of neighbouring pairs, about evenly spread over time; at least one, each once."""
    duration_s = time_T[-1] - time_T[0]
    num_pairs = min(len(time_T) - 1, max(1, round(duration_s * pairs_per_s)))
    middles = (np.arange(num_pairs) + 0.5) / num_pairs * duration_s
    indices = np.searchsorted(time_T, time_T[0] + middles, side="right") - 1
    return np.unique(np.minimum(indices, len(time_T) - 2)).tolist()


def flow(grey_THW: np.ndarray, time_T: np.ndarray, pairs_per_s: float) -> tuple[float, float]:
    """Speed of the picture, and the part of it that is one shift of the whole frame.

    Args:
        grey_THW: uint8 luma, shape (T, H, W).
        time_T: presentation time of each frame, seconds, increasing.
        pairs_per_s: how many neighbouring pairs are looked at.

    Returns:
        Mean length of the flow vectors in frame diagonals per second; and the length of the median vector as a share of
        the mean length, in [0, 1]: near 1 for a pan, near 0 for things that move before a still background (or a zoom).

    Raises:
        ClipTooShort: fewer than two frames.

    Source: Kroeger et al., Fast Optical Flow using Dense Inverse Search, ECCV 2016, as in OpenCV, preset ULTRAFAST.
    """
    _need_two(grey_THW)
    estimator = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    estimator.setFinestScale(1)  # the preset's 2 is for large frames; on small ones it smears small things
    diagonal_px = float(np.hypot(*grey_THW.shape[1:]))
    lengths, shifts = [], []
    for index in flow_pairs(time_T, pairs_per_s):
        before_HW, after_HW = (np.ascontiguousarray(grey_THW[at]) for at in (index, index + 1))
        flow_HWC = estimator.calc(before_HW, after_HW, np.zeros((*before_HW.shape, 2), np.float32))
        per_s = 1 / (diagonal_px * (time_T[index + 1] - time_T[index]))
        lengths.append(float(np.hypot(flow_HWC[..., 0], flow_HWC[..., 1]).mean()) * per_s)
        shifts.append(float(np.hypot(*(np.median(flow_HWC[..., axis]) for axis in (0, 1)))) * per_s)
    total = sum(lengths)
    return total / len(lengths), min(1.0, sum(shifts) / total) if total else 0.0


def static_share(grey_THW: np.ndarray, time_T: np.ndarray, config: MotionConfig) -> float:
    """Share of frame pairs, `still_distance_s` apart, between which nothing happens.

    Pairs of neighbours would call every slow movement still; frames farther apart do not.

    Raises:
        ClipTooShort: fewer than two frames.
    """
    _need_two(grey_THW)
    steps = max(1, round((time_T[-1] - time_T[0]) / config.still_distance_s))
    times = np.linspace(time_T[0], time_T[-1], steps + 1)
    indices = np.unique(np.searchsorted(time_T, times - 1e-9)).clip(max=len(time_T) - 1).tolist()
    smooth = [cv2.blur(grey_THW[at], (3, 3)) for at in indices]  # sensor noise is no change
    changed = [float((cv2.absdiff(now, before) > config.still_step_levels).mean()) for before, now in pairwise(smooth)]
    return sum(share <= config.still_max_share for share in changed) / len(changed)


class Motion(SpanStage):
    """Motion scores of a clip, from its small frames."""

    name, version = "motion", 2
    adds = pa.schema(
        [
            column("luma_change", pa.float32(), "levels/s", "Mean absolute luma change of a pixel; 0 is a still."),
            column("flow_mag", pa.float32(), "diagonals/s", "Mean optical flow, in frame diagonals per second."),
            column("camera_share", pa.float32(), "", "Median flow vector over mean flow length: near 1 for a pan."),
            column("static_share", pa.float32(), "", "Share of the time in which the picture stands still."),
        ]
    )

    def __init__(self, config: MotionConfig) -> None:
        self.config = config

    def score(self, clip: Clip, span: Span) -> Mapping[str, object]:
        """Values of one clip; ClipTooShort if it has one frame."""
        speed, camera = flow(span.grey_THW, span.time_T, self.config.flow_pairs_per_s)
        return {
            "luma_change": luma_change(span.grey_THW, span.time_T, self.config.change_step_s),
            "flow_mag": speed,
            "camera_share": camera,
            "static_share": static_share(span.grey_THW, span.time_T, self.config),
        }

    def identity(self) -> dict[str, object]:
        """Name, version and knobs."""
        return {**super().identity(), "config": self.config.resolved()}


def _need_two(grey_THW: np.ndarray) -> None:
    if len(grey_THW) < 2:
        raise ClipTooShort(f"clip has {len(grey_THW)} frame; motion needs 2; raise scenes.min_clip_s")
