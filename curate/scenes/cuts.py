"""Hard cuts and blank stretches of one video: PySceneDetect's detectors, fed with what the scan measured.

They see frame numbers, never times: at a variable frame rate a number is exact, and every result is an index into the
scan's pts. Nothing is decoded here, and nothing read but a few frames around flashes.
"""

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
from scenedetect.common import FrameTimecode
from scenedetect.detectors import ThresholdDetector

from curate.scan import Scan
from curate.scenes.features import of_all_frames
from curate.scenes.limits import BlankConfig, CutsConfig

_ANY_RATE = 25.0  # FrameTimecode wants one; with frame numbers it is never used
_STILL = 0.00001  # PySceneDetect's own limit of a window in which nothing changes
_MAX_RATIO = 255.0  # PySceneDetect's own ceiling for a change in an otherwise still window


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
    """Run the detectors over the whole scan."""
    features = of_all_frames(scan.features, scan.seen_S, len(scan.pts_T))
    found = _shots(features.change_T, cuts)
    black = _beyond(features.level_T, blanks.black_level, ThresholdDetector.Method.FLOOR)
    white = _beyond(features.level_T, blanks.white_level, ThresholdDetector.Method.CEILING)
    flash_T = np.zeros(len(features) + 1, bool)  # a flash's end is a cut as well, so it counts here
    for start, end in find_flashes(sorted(found), scan, cuts):
        flash_T[start : end + 1] = True
    runs = _flat_runs(black + white, features.spread_T, blanks.max_spread_levels)
    return Curves(
        cuts={at: found[at] for at in sorted(found) if not flash_T[at]},
        blanks=[(start, end) for start, end in runs if not flash_T[start:end].all()],
        level_T=features.level_T,
        thumb_THW=features.thumb_THW,
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
    before, inside, after = (scan.nearest(index).astype(np.int16) for index in (start - 1, start, end))
    return float(np.abs(after - before).mean() / max(np.abs(inside - before).mean(), 1e-9))


def _flat_runs(ranges: list[tuple[int, int]], spread_T: np.ndarray, max_spread: float) -> list[tuple[int, int]]:
    """The parts of the ranges in which a frame is one flat tone: a night scene is dark, but not flat."""
    flat_T = np.zeros(len(spread_T) + 2, np.int8)
    for start, end in ranges:
        flat_T[start + 1 : end + 1] = spread_T[start:end] <= max_spread
    edges = np.flatnonzero(np.diff(flat_T)).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))


def _shots(change_T: np.ndarray, config: CutsConfig) -> dict[int, float]:
    """First frame of each new shot -> confidence r / (r + limit) of the adaptive ratio r: 0.5 if it only just is one.

    PySceneDetect's adaptive detector on all changes at once. Its window sees nothing of the first and last frames; so
    frames that do not change are put around them.
    """
    pad, num_frames = config.window_frames, len(change_T)
    padded_T = np.concatenate([np.zeros(pad), change_T, np.zeros(pad)])
    around_T = np.zeros(num_frames)
    for step in (step for step in range(2 * pad + 1) if step != pad):
        around_T += padded_T[step : step + num_frames]
    mean_T = around_T / (2.0 * pad)
    is_still_T = mean_T < _STILL
    ratio_T = np.where(is_still_T, _MAX_RATIO, np.minimum(change_T / np.where(is_still_T, 1.0, mean_T), _MAX_RATIO))
    cuts = np.flatnonzero((change_T >= config.min_content_levels) & (ratio_T >= config.adaptive_ratio))
    return {int(cut): float(ratio_T[cut] / (ratio_T[cut] + config.adaptive_ratio)) for cut in cuts}


def _beyond(level_T: np.ndarray, threshold: int, method: ThresholdDetector.Method) -> list[tuple[int, int]]:
    """Half-open ranges of frames darker than the threshold, or as bright as it."""
    is_black = method is ThresholdDetector.Method.FLOOR
    if not (level_T < threshold if is_black else level_T >= threshold).any():
        return []  # most videos, and the detector takes its time
    blanks = _Blanks(threshold, method)
    for level in level_T.tolist():
        blanks.add(level)
    return blanks.finish()


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
