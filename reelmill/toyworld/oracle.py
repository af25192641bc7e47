"""Colour, kind and direction read back from frames: the judge of generated video.

Saturation finds the shape (the background is greyish), its mean hue is the colour, a line through its centres of mass
the direction, and its mean outline, centred and normalised by area, is compared with outlines that the renderer draws.
What it cannot read is None, which counts as wrong.

Shapes: T = frames, H, W = pixels (any square size from 24), C = red, green, blue.
"""

import colorsys
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from reelmill.toyworld.render import shape_mask
from reelmill.toyworld.world import COLOURS, DIRECTIONS, KINDS, Combination

CHANCE = {"colour": 1 / len(COLOURS), "kind": 1 / len(KINDS), "direction": 1 / len(DIRECTIONS)}

MIN_CHROMA_LEVELS = 60  # of the shape's body: backgrounds stay below 25, noise of 10 levels below 50
MIN_AREA_SHARE, MAX_AREA_SHARE = 0.02, 0.4
MIN_SEEN_SHARE = 0.5  # of the frames must show a shape
MIN_TRAVEL_SHARE = 4 / 32  # of the side, over the whole clip
MIN_LIKENESS = 0.75  # correlation with the best outline
BLURS_PX = (0.3, 0.9, 1.5)  # at 32x32: outlines are tried at each, since codecs and samplers blur
CANVAS_PX = 32
CANVAS_RADIUS = 0.26  # of the canvas: the circle of the normalised area


@dataclass(frozen=True)
class Reading:
    """What the frames show; None where they show nothing definite."""

    colour: str | None
    kind: str | None
    direction: str | None


@dataclass(frozen=True)
class _Sighting:
    """The shape in one frame: its soft coverage (H, W) in [0, 1], its centre (x, y) in px, its mean colour."""

    coverage_HW: np.ndarray
    centre_xy: np.ndarray
    colour_C: np.ndarray


def read(frames_THWC: np.ndarray) -> Reading:
    """Read a clip: uint8 RGB frames, evenly spaced in time, shape (T, H, W, 3)."""
    sightings = [_find_shape(frame_HWC) for frame_HWC in frames_THWC]
    seen = [(index, sighting) for index, sighting in enumerate(sightings) if sighting is not None]
    if len(seen) < max(2, MIN_SEEN_SHARE * len(frames_THWC)):
        return Reading(None, None, None)
    found = [sighting for _, sighting in seen]
    index_T = np.array([index for index, _ in seen])
    side_px, num_frames = frames_THWC.shape[2], len(frames_THWC)
    return Reading(_colour(found), _kind(found), _direction(found, index_T, num_frames, side_px))


def score(frames_THWC: np.ndarray, combination: Combination) -> dict[str, bool]:
    """Which of colour, kind and direction the frames show as they should."""
    reading = read(frames_THWC)
    return {name: getattr(reading, name) == getattr(combination, name) for name in CHANCE}


def _find_shape(frame_HWC: np.ndarray) -> _Sighting | None:
    component_HW = _saturated_component(frame_HWC)
    if not MIN_AREA_SHARE <= component_HW.mean() <= MAX_AREA_SHARE:
        return None
    body_HW = cv2.erode(component_HW, np.ones((3, 3), np.uint8)) > 0
    near_HW = cv2.dilate(component_HW, np.ones((3, 3), np.uint8)) > 0
    if not body_HW.any() or near_HW.all():
        return None
    body_C, ground_C = frame_HWC[body_HW].mean(axis=0), frame_HWC[~near_HW].mean(axis=0)
    coverage_HW = _coverage(frame_HWC, body_C, ground_C) * near_HW
    return _Sighting(coverage_HW, _mass(coverage_HW)[1], body_C)


def _saturated_component(frame_HWC: np.ndarray) -> np.ndarray:
    """The largest connected region of at least half the shape's saturation, uint8 0 or 1, shape (H, W)."""
    smooth_HWC = cv2.GaussianBlur(frame_HWC, (3, 3), 0.6)
    chroma_HW = smooth_HWC.max(axis=2).astype(np.float32) - smooth_HWC.min(axis=2)
    body_levels, ground_levels = np.percentile(chroma_HW, (97, 50))
    if body_levels < MIN_CHROMA_LEVELS:
        return np.zeros(chroma_HW.shape, np.uint8)
    return _largest_component(chroma_HW > (body_levels + ground_levels) / 2)


def _coverage(frame_HWC: np.ndarray, body_C: np.ndarray, ground_C: np.ndarray) -> np.ndarray:
    """Share of every pixel that is shape: where its colour lies between ground and body.

    Luma takes part, since codecs keep it sharp.
    """
    axis_C = body_C - ground_C
    share_HW = (frame_HWC - ground_C) @ axis_C / max(float(axis_C @ axis_C), 1.0)
    return np.clip(share_HW, 0, 1).astype(np.float32)


def _mass(coverage_HW: np.ndarray) -> tuple[float, np.ndarray]:
    """Area in px and centre (x, y) in px."""
    y_HW, x_HW = np.indices(coverage_HW.shape)
    area_px = float(coverage_HW.sum())
    return area_px, np.array([(x_HW * coverage_HW).sum(), (y_HW * coverage_HW).sum()]) / max(area_px, 1e-6)


def _largest_component(mask_HW: np.ndarray) -> np.ndarray:
    count, labels_HW, stats, _ = cv2.connectedComponentsWithStats(mask_HW.astype(np.uint8), connectivity=4)
    if count == 1:
        return np.zeros(mask_HW.shape, np.uint8)
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    return (labels_HW == largest).astype(np.uint8)


def _colour(found: list[_Sighting]) -> str | None:
    colour_C = np.median([sighting.colour_C for sighting in found], axis=0)
    if colour_C.max() - colour_C.min() < MIN_CHROMA_LEVELS:
        return None
    hue = _hue(colour_C)
    return min(COLOURS, key=lambda name: abs((hue - _hue(np.array(COLOURS[name])) + 0.5) % 1 - 0.5))


def _hue(colour_C: np.ndarray) -> float:
    red, green, blue = (float(level) / 255 for level in colour_C)
    return colorsys.rgb_to_hsv(red, green, blue)[0]


def _direction(found: list[_Sighting], index_T: np.ndarray, num_frames: int, side_px: int) -> str | None:
    """The direction nearest to the slope of a line through the centres; None if it travels too little."""
    centres_T2 = np.stack([sighting.centre_xy for sighting in found])
    slope_xy = np.polyfit(index_T, centres_T2, 1)[0]
    if np.linalg.norm(slope_xy) * (num_frames - 1) < MIN_TRAVEL_SHARE * side_px:
        return None
    return max(DIRECTIONS, key=lambda name: float(np.dot(slope_xy, DIRECTIONS[name])))


def _kind(found: list[_Sighting]) -> str | None:
    mean_HW = np.mean([_normalised(sighting.coverage_HW) for sighting in found], axis=0)
    likeness = {
        kind: max(float(np.corrcoef(mean_HW.ravel(), _template(kind, blur_px).ravel())[0, 1]) for blur_px in BLURS_PX)
        for kind in KINDS
    }
    best = max(likeness, key=lambda kind: likeness[kind])
    return best if likeness[best] >= MIN_LIKENESS else None


def _normalised(coverage_HW: np.ndarray) -> np.ndarray:
    """The shape's coverage on a small canvas, centred, scaled to the area of one circle."""
    area_px, (x, y) = _mass(coverage_HW)
    scale = CANVAS_PX * CANVAS_RADIUS / np.sqrt(max(area_px, 1e-6) / np.pi)
    middle = (CANVAS_PX - 1) / 2
    place = np.array([[scale, 0, middle - scale * x], [0, scale, middle - scale * y]])
    return cv2.warpAffine(coverage_HW, place, (CANVAS_PX, CANVAS_PX), flags=cv2.INTER_LINEAR)


@cache
def _template(kind: str, blur_px: float) -> np.ndarray:
    """The outline as the renderer draws it, at the trainer's size, blurred, on the canvas."""
    mask_HW = cv2.resize(shape_mask(kind, (0.5, 0.5), 0.19, 128), (32, 32), interpolation=cv2.INTER_AREA)
    return _normalised(cv2.GaussianBlur(mask_HW.astype(np.float32) / 255, (0, 0), blur_px))
