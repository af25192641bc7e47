"""Hard cuts and blank stretches of one video: PySceneDetect's own detectors, fed with the scan's frames.

The detectors are given frame numbers, never times: at a variable frame rate a number is exact, and every result is an
index into the scan's pts. Nothing is decoded here, and memory holds a few numbers for each frame.
"""

from bisect import bisect_right
from dataclasses import dataclass

import cv2
import numpy as np
from pydantic import Field
from scenedetect.common import FrameTimecode
from scenedetect.detectors import AdaptiveDetector, ThresholdDetector

from curate.scan import Scan
from shards.config import Config

THUMB_WIDTH, THUMB_HEIGHT = 16, 12
_ANY_RATE = 25.0  # FrameTimecode wants one; with frame numbers it is never used
_MAX_RATIO = 255.0  # PySceneDetect's own ceiling for a change in an otherwise still window


class CutsConfig(Config):
    """Where shots begin: knobs of PySceneDetect's adaptive detector, and what is a flash and no cut."""

    adaptive_ratio: float = Field(
        default=3.0, gt=1, description="A cut changes so many times more than the frames around it."
    )
    min_content_levels: float = Field(default=15.0, gt=0, description="A cut changes hue, saturation, value by this.")
    window_frames: int = Field(default=2, ge=1, description="Frames on each side that a change is compared with.")
    flash_max_frames: int = Field(
        default=4, ge=0, description="Longest run of odd frames that is a flash inside one shot."
    )
    flash_likeness: float = Field(
        default=0.5,
        gt=0,
        lt=1,
        description="After a flash, the difference to the frame before it is at most this share.",
    )


class BlankConfig(Config):
    """Which frames are black or white and nothing else: the core of a fade."""

    black_level: int = Field(default=12, ge=1, le=255, description="Mean RGB level below which a frame is black.")
    white_level: int = Field(default=243, ge=1, le=255, description="Mean RGB level from which on a frame is white.")
    max_spread_levels: float = Field(
        default=6.0, gt=0, description="Standard deviation of luma that a blank frame may have; a night scene has more."
    )


@dataclass(frozen=True)
class Curves:
    """What one pass over the small frames leaves (T = frames).

    Attributes:
        cuts: index of the first frame of each new shot -> confidence in [0, 1], in order.
        blanks: half-open frame ranges that are black or white, in order.
        level_T: float64 mean RGB level.
        thumb_THW: uint8 luma of 16x12 px, for whoever compares distant frames.
    """

    cuts: dict[int, float]
    blanks: list[tuple[int, int]]
    level_T: np.ndarray
    thumb_THW: np.ndarray


def find_curves(scan: Scan, cuts: CutsConfig, blanks: BlankConfig) -> Curves:
    """Run the detectors over the whole scan, a chunk at a time."""
    shots = _Shots(cuts)
    black = _Blanks(blanks.black_level, ThresholdDetector.Method.FLOOR)
    white = _Blanks(blanks.white_level, ThresholdDetector.Method.CEILING)
    levels: list[float] = []
    spreads: list[float] = []
    thumbs: list[np.ndarray] = []
    for span in scan.chunks():
        for bgr_HWC, grey_HW in zip(span.bgr_THWC(), span.grey_THW, strict=True):
            shots.add(bgr_HWC)
            levels.append(sum(cv2.mean(bgr_HWC)[:3]) / 3)
            spreads.append(float(cv2.meanStdDev(grey_HW)[1][0, 0]))
            thumbs.append(cv2.resize(grey_HW, (THUMB_WIDTH, THUMB_HEIGHT), interpolation=cv2.INTER_AREA))
            black.add(levels[-1])
            white.add(levels[-1])
    found = shots.finish()
    flash_T = np.zeros(len(levels) + 1, bool)  # a flash's end is a cut as well, so it counts here
    for start, end in find_flashes(sorted(found), scan, cuts):
        flash_T[start : end + 1] = True
    runs = _flat_runs(black.finish() + white.finish(), spreads, blanks.max_spread_levels)
    return Curves(
        cuts={at: found[at] for at in sorted(found) if not flash_T[at]},
        blanks=[(start, end) for start, end in runs if not flash_T[start:end].all()],
        level_T=np.array(levels, np.float64),
        thumb_THW=np.array(thumbs, np.uint8).reshape(-1, THUMB_HEIGHT, THUMB_WIDTH),
    )


def find_flashes(cuts: list[int], scan: Scan, config: CutsConfig) -> list[tuple[int, int]]:
    """Half-open ranges of a few odd frames after which the same shot goes on (lightning, a camera flash).

    Args:
        cuts: first frames of shots as a detector sees them, in order: a flash is two of them.
        scan: where to look at the frames on both sides.
        config: how long and how like.
    """
    ends = [cuts[at + 1 : bisect_right(cuts, start + config.flash_max_frames)] for at, start in enumerate(cuts)]
    pairs = [(start, end) for start, later in zip(cuts, ends, strict=True) for end in later]
    return [(start, end) for start, end in pairs if _likeness(scan, start, end) <= config.flash_likeness]


def _likeness(scan: Scan, start: int, end: int) -> float:
    """Difference of the frames on both sides of [start, end), as a share of the step into it."""
    pts = [int(scan.pts_T[index]) for index in (start - 1, start, end)]
    before, inside, after = (scan.of(at, at + 1).i420_THW[0].astype(np.int16) for at in pts)
    return float(np.abs(after - before).mean() / max(np.abs(inside - before).mean(), 1e-9))


def _flat_runs(ranges: list[tuple[int, int]], spreads: list[float], max_spread: float) -> list[tuple[int, int]]:
    """The parts of the ranges in which a frame is one flat tone: a night scene is dark, but not flat."""
    flat_T = np.zeros(len(spreads) + 2, np.int8)
    for start, end in ranges:
        flat_T[start + 1 : end + 1] = np.array(spreads[start:end]) <= max_spread
    edges = np.flatnonzero(np.diff(flat_T)).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))


class _Shots(AdaptiveDetector):
    """PySceneDetect's adaptive detector that remembers its scores, so that a cut can say how sure it is.

    Its window sees nothing of the first and last frames; so they are repeated, which adds frames that do not change.
    """

    def __init__(self, config: CutsConfig) -> None:
        super().__init__(
            adaptive_threshold=config.adaptive_ratio,
            min_scene_len=0,
            window_width=config.window_frames,
            min_content_val=config.min_content_levels,
        )
        self._scores: list[float] = []
        self._cuts: list[int] = []
        self._last_HWC: np.ndarray | None = None

    def add(self, bgr_HWC: np.ndarray) -> None:
        """Take the next frame of the video."""
        if self._last_HWC is None:
            self._repeat(bgr_HWC)
        self._step(bgr_HWC)
        self._last_HWC = bgr_HWC

    def finish(self) -> dict[int, float]:
        """First frame of each new shot -> confidence."""
        if self._last_HWC is not None:
            self._repeat(self._last_HWC)
        pad = self.window_width
        return {cut - pad: self._confidence(cut) for cut in self._cuts}

    def _repeat(self, bgr_HWC: np.ndarray) -> None:
        for _ in range(self.window_width):
            self._step(bgr_HWC)

    def _step(self, bgr_HWC: np.ndarray) -> None:
        frame = FrameTimecode(len(self._scores), _ANY_RATE)
        self._cuts += [cut.frame_num for cut in self.process_frame(frame, bgr_HWC)]

    def _calculate_frame_score(self, timecode: FrameTimecode, frame_img: np.ndarray) -> float:
        score = float(super()._calculate_frame_score(timecode, frame_img))
        self._scores.append(score)
        return score

    def _confidence(self, cut: int) -> float:
        """r / (r + threshold) of the adaptive ratio r: 0.5 for a cut that only just is one."""
        around = [self._scores[cut + step] for step in range(-self.window_width, self.window_width + 1) if step]
        mean = sum(around) / len(around)
        ratio = min(self._scores[cut] / mean, _MAX_RATIO) if mean > 0 else _MAX_RATIO
        return ratio / (ratio + self.adaptive_threshold)


class _Blanks:
    """PySceneDetect's threshold detector, read for both ends of each stretch beyond the threshold.

    A bias of -1 makes it say where the level was crossed outward, at the frame that crosses back. It looks only at the
    mean of a frame, so the mean is what it is given.
    """

    def __init__(self, threshold: int, method: ThresholdDetector.Method) -> None:
        self._detector = ThresholdDetector(threshold, 0, fade_bias=-1.0, add_final_scene=True, method=method)
        self._ranges: list[tuple[int, int]] = []
        self._num_frames = 0

    def add(self, level: float) -> None:
        frame = FrameTimecode(self._num_frames, _ANY_RATE)
        for first in self._detector.process_frame(frame, np.array([level])):
            self._ranges.append((first.frame_num, self._num_frames))
        self._num_frames += 1

    def finish(self) -> list[tuple[int, int]]:
        if self._num_frames:
            for first in self._detector.post_process(FrameTimecode(self._num_frames - 1, _ANY_RATE)):
                self._ranges.append((first.frame_num, self._num_frames))
        return self._ranges
