"""What shot detection wants to know of a frame, measured once while its small frame passes by."""

from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np

THUMB_WIDTH, THUMB_HEIGHT = 16, 12
_BLOCK_FRAMES = 4096


@dataclass(frozen=True)
class Features:
    """Numbers of consecutive frames (T = frames).

    Attributes:
        change_T: float64, change of hue, saturation and value against the frame before, in levels; 0 for the first.
        level_T: float64, mean RGB level.
        spread_T: float64, standard deviation of luma.
        thumb_THW: uint8 luma of 16x12 px, for whoever compares distant frames.
    """

    change_T: np.ndarray
    level_T: np.ndarray
    spread_T: np.ndarray
    thumb_THW: np.ndarray

    @classmethod
    def read(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """Of arrays that `as_arrays` gave."""
        return cls(*(arrays[name] for name in cls.__dataclass_fields__))

    def as_arrays(self) -> dict[str, np.ndarray]:
        """By name, for a file."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def __len__(self) -> int:
        return len(self.level_T)

    def take(self, order: np.ndarray) -> Self:
        """Those frames, in that order; `change_T` goes with them as it is."""
        return type(self)(*(getattr(self, name)[order] for name in self.__dataclass_fields__))

    def followed_by(self, other: Self) -> Self:
        """Both, one after the other."""
        names = self.__dataclass_fields__
        return type(self)(*(np.concatenate([getattr(self, name), getattr(other, name)]) for name in names))


class FeatureMeter:
    """Measures frames in the order in which they are shown."""

    def __init__(self) -> None:
        self._change, self._level, self._spread = array("d"), array("d"), array("d")
        self._thumbs = bytearray()
        self._last_HWC: np.ndarray | None = None

    def restart(self) -> None:
        """The next frame does not follow the last one."""
        self._last_HWC = None

    def see(self, i420_HW: np.ndarray) -> float:
        """Measure one small frame; returns its change."""
        bgr_HWC = cv2.cvtColor(i420_HW, cv2.COLOR_YUV2BGR_I420)
        grey_HW = i420_HW[: len(bgr_HWC)]
        change = self._step(bgr_HWC)
        self._change.append(change)
        self._level.append(sum(cv2.mean(bgr_HWC)[:3]) / 3)
        self._spread.append(float(cv2.meanStdDev(grey_HW)[1][0, 0]))
        self._thumbs += cv2.resize(grey_HW, (THUMB_WIDTH, THUMB_HEIGHT), interpolation=cv2.INTER_AREA).tobytes()
        return change

    def features(self) -> Features:
        """Of all frames so far."""
        thumb_THW = np.frombuffer(self._thumbs, np.uint8).reshape(-1, THUMB_HEIGHT, THUMB_WIDTH)
        change_T, level_T, spread_T = (np.array(item, np.float64) for item in (self._change, self._level, self._spread))
        return Features(change_T, level_T, spread_T, thumb_THW)

    def _step(self, bgr_HWC: np.ndarray) -> float:
        """PySceneDetect's content score with its own weights, 1 for hue, saturation and value."""
        hsv_HWC = cv2.cvtColor(bgr_HWC, cv2.COLOR_BGR2HSV)
        before_HWC, self._last_HWC = self._last_HWC, hsv_HWC
        if before_HWC is None:
            return 0.0
        num_pixels = hsv_HWC.shape[0] * hsv_HWC.shape[1]
        hue, saturation, value, _ = cv2.sumElems(cv2.absdiff(hsv_HWC, before_HWC))
        return (hue / num_pixels + saturation / num_pixels + value / num_pixels) / 3.0


def of_all_frames(seen: Features, seen_S: np.ndarray, num_frames: int) -> Features:
    """Features of every frame, those of frames not seen from the ones around them.

    A change over several frames is divided among them, so that it is the least that each can have in the mean; levels
    and thumbnails lie on the straight way, which is what they do in a fade or dissolve.

    Args:
        seen: of the frames that were seen.
        seen_S: index of each of them among all frames, increasing.
        num_frames: how many there are in all.
    """
    if len(seen) == num_frames:
        return seen
    gap_S = np.diff(seen_S)
    change_T = np.zeros(num_frames)
    change_T[seen_S[0] + 1 : seen_S[-1] + 1] = np.repeat(seen.change_T[1:] / gap_S, gap_S)
    all_T = np.arange(num_frames)
    level_T, spread_T = (np.interp(all_T, seen_S, values) for values in (seen.level_T, seen.spread_T))
    thumb_THW = np.empty((num_frames, *seen.thumb_THW.shape[1:]), np.uint8)
    for first in range(0, num_frames, _BLOCK_FRAMES):
        block_T = all_T[first : first + _BLOCK_FRAMES]
        after_T = np.searchsorted(seen_S, block_T).clip(max=len(seen_S) - 1)
        before_T = (np.searchsorted(seen_S, block_T, side="right") - 1).clip(min=0)
        share_T = (block_T - seen_S[before_T]) / np.maximum(seen_S[after_T] - seen_S[before_T], 1)
        before_THW, after_THW = (seen.thumb_THW[at].astype(np.float32) for at in (before_T, after_T))
        mixed_THW = before_THW + share_T.astype(np.float32)[:, None, None] * (after_THW - before_THW)
        thumb_THW[first : first + _BLOCK_FRAMES] = np.rint(mixed_THW)
    return Features(change_T, level_T, spread_T, thumb_THW)
