"""One shot of the toy world as frames: an anti-aliased shape on a drifting texture, seen by a noisy sensor.

Lengths are shares of the picture's side, times are seconds, so the same shot renders at any size and rate.
Shapes: T = frames, H, W = pixels, C = red, green, blue.
"""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from reelmill.toyworld.world import COLOURS, DIRECTIONS, Combination

UNIT = 1 / 32  # the trainer's pixel: sizes below are natural at 32x32

RADIUS_UNITS = (6.2, 7.6)
SPEED_UNITS_PER_S = (3.6, 5.0)  # 7 to 10 units in the 2 s that the trainer sees
DRIFT_UNITS_PER_S = 1.0
JITTER_UNITS = 1.5
MARGIN_UNITS = 0.5
MAX_SHOT_S = 3.5
BASE_LUMA_LEVELS = (70.0, 185.0)
NOISE_LEVELS = 4.0
TINT_LEVELS = 10.0
NOISE_TILE_PX = 512
SUBPIXEL_BITS = 6
SUPERSAMPLING = 4


@dataclass(frozen=True)
class Shot:
    """Everything that fixes a shot's frames.

    Attributes:
        combination: colour, kind and direction; a still keeps its direction but does not move.
        radius: of the circle of about the shape's area, share of the side.
        start_xy: the shape's centre at time 0, shares of the side.
        speed: along the direction, sides per second.
        drift_xy: of the background, sides per second.
        base_luma: of the background, levels.
        seed: of texture and noise.
    """

    combination: Combination
    radius: float
    start_xy: tuple[float, float]
    speed: float
    drift_xy: tuple[float, float]
    base_luma: float
    seed: int

    def centre(self, time_s: float) -> tuple[float, float]:
        """The shape's centre at a time, shares of the side."""
        step = DIRECTIONS[self.combination.direction]
        return self.start_xy[0] + step.x * self.speed * time_s, self.start_xy[1] + step.y * self.speed * time_s


def draw_shot(
    rng: np.random.Generator, combination: Combination, duration_s: float, base_luma: float | None = None
) -> Shot:
    """A random shot of a combination whose shape stays in the picture from time 0 for so many seconds.

    Raises:
        ValueError: the duration is not in (0, 3.5]: no shape of this size could stay that long.
    """
    if not 0 < duration_s <= MAX_SHOT_S:
        raise ValueError(f"duration_s is {duration_s}; up to {MAX_SHOT_S} is allowed; make the shot shorter")
    slowest, fastest = (speed * UNIT for speed in SPEED_UNITS_PER_S)
    extent = float(np.abs(outline(combination.kind)).max())
    room = 1 - 2 * MARGIN_UNITS * UNIT
    smallest, largest = (radius * UNIT for radius in RADIUS_UNITS)
    radius = rng.uniform(smallest, min(largest, (room - slowest * duration_s) / (2 * extent)))
    room -= 2 * extent * radius  # what is left for the centre, along either axis
    speed = rng.uniform(slowest, min(fastest, room / duration_s))
    step = np.array(DIRECTIONS[combination.direction])
    slack_xy = np.maximum(room - np.abs(step) * speed * duration_s, 0) / 2
    jitter_xy = rng.uniform(-1, 1, 2) * np.minimum(slack_xy, JITTER_UNITS * UNIT)
    start_xy = 0.5 - step * speed * duration_s / 2 + jitter_xy
    return Shot(
        combination=combination,
        radius=float(radius),
        start_xy=(float(start_xy[0]), float(start_xy[1])),
        speed=float(speed),
        drift_xy=_drift(rng),
        base_luma=float(rng.uniform(*BASE_LUMA_LEVELS)) if base_luma is None else base_luma,
        seed=int(rng.integers(2**31)),
    )


def render_shot(shot: Shot, times_s: np.ndarray, size_px: int) -> np.ndarray:
    """The shot's frames at these times (from -3.5 to 3.5 s), uint8, shape (T, H, W, C), square."""
    rng = np.random.default_rng(shot.seed)
    texture_HWC = _texture(rng, shot.base_luma, size_px)
    paint_C = np.clip(np.array(COLOURS[shot.combination.colour]) * rng.uniform(0.9, 1.05), 0, 255).astype(np.float32)
    corners_T2 = rng.integers(0, NOISE_TILE_PX - size_px, (len(times_s), 2))
    frames_THWC = np.empty((len(times_s), size_px, size_px, 3), np.uint8)
    for frame_HWC, time_s, (top, left) in zip(frames_THWC, times_s, corners_T2, strict=True):
        picture_HWC = _background(texture_HWC, shot, float(time_s), size_px)
        alpha_HW1 = shape_mask(shot.combination.kind, shot.centre(float(time_s)), shot.radius, size_px)[..., None]
        picture_HWC += (paint_C - picture_HWC) * (alpha_HW1.astype(np.float32) / 255)
        picture_HWC += _noise_tile()[top : top + size_px, left : left + size_px]
        np.clip(picture_HWC, 0, 255, out=picture_HWC)
        frame_HWC[:] = picture_HWC
    return frames_THWC


def shape_mask(kind: str, centre: tuple[float, float], radius: float, size_px: int) -> np.ndarray:
    """Coverage of every pixel by a shape, uint8 0 to 255, shape (H, W); lengths are shares of the side.

    Drawn larger and shrunk: cv2's own anti-aliasing grows a shape by half a pixel all around.
    """
    fine_px = size_px * SUPERSAMPLING
    points_N2 = (outline(kind) * radius + centre) * fine_px - 0.5  # cv2's pixel centres lie at whole numbers
    fixed_N2 = np.round(points_N2 * (1 << SUBPIXEL_BITS)).astype(np.int32)
    fine_HW = np.zeros((fine_px, fine_px), np.uint8)
    cv2.fillPoly(fine_HW, [fixed_N2], (255,), cv2.LINE_8, SUBPIXEL_BITS)
    return cv2.resize(fine_HW, (size_px, size_px), interpolation=cv2.INTER_AREA)


@cache
def outline(kind: str) -> np.ndarray:
    """Corners of a shape of radius 1 around its centre of area, shape (N, 2), y downwards."""
    match kind:
        case "circle":
            return _polar(np.ones(40), 0)
        case "square":
            return _polar(np.full(4, 0.9 * np.sqrt(2)), np.pi / 4)
        case "triangle":
            return _polar(np.full(3, 1.3), -np.pi / 2)
        case "star":
            return _polar(np.tile([1.3, 0.52], 5), -np.pi / 2)
    raise ValueError(f"kind is {kind!r}; circle, square, triangle and star are allowed; use one of world.KINDS")


def _polar(radii_N: np.ndarray, first_angle: float) -> np.ndarray:
    angles_N = first_angle + np.arange(len(radii_N)) * 2 * np.pi / len(radii_N)
    return np.stack([np.cos(angles_N), np.sin(angles_N)], axis=1) * radii_N[:, None]


def _drift(rng: np.random.Generator) -> tuple[float, float]:
    angle, speed = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 1) * DRIFT_UNITS_PER_S * UNIT
    return float(np.cos(angle) * speed), float(np.sin(angle) * speed)


def _margin_px(size_px: int) -> int:
    return int(np.ceil(DRIFT_UNITS_PER_S * UNIT * MAX_SHOT_S * size_px)) + 1


def _texture(rng: np.random.Generator, base_luma: float, size_px: int) -> np.ndarray:
    """The background with room to drift, float32, shape (H, W, C): tinted light, three waves, a coarse grain."""
    side_px = size_px + 2 * _margin_px(size_px)
    x_1W = np.arange(side_px)[None, :] / size_px
    y_H1 = x_1W.T
    light_HW = np.zeros((side_px, side_px))
    for waves in (rng.uniform(0.5, 1.5), rng.uniform(1.5, 4), rng.uniform(4, 8)):
        angle, phase = rng.uniform(0, 2 * np.pi, 2)
        light_HW += np.sin(2 * np.pi * waves * (np.cos(angle) * x_1W + np.sin(angle) * y_H1) + phase)
    coarse = rng.normal(0, 1, (12, 12)).astype(np.float32)
    grain_HW = cv2.resize(coarse, (side_px, side_px), interpolation=cv2.INTER_CUBIC)
    tint_C = rng.uniform(-TINT_LEVELS, TINT_LEVELS, 3)
    texture_HWC = base_luma + tint_C + (light_HW * 8 + grain_HW * 7)[..., None]
    return np.ascontiguousarray(texture_HWC, np.float32)


def _background(texture_HWC: np.ndarray, shot: Shot, time_s: float, size_px: int) -> np.ndarray:
    """The part of the texture that the camera sees at a time, to a fraction of a pixel."""
    x_px, y_px = (_margin_px(size_px) + drift * time_s * size_px for drift in shot.drift_xy)
    shift = np.array([[1, 0, x_px], [0, 1, y_px]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(texture_HWC, shift, (size_px, size_px), flags=flags)


@cache
def _noise_tile() -> np.ndarray:
    """Sensor noise that every frame takes a random window of: drawing it anew would cost more than all the rest."""
    rng = np.random.default_rng(0)
    return rng.normal(0, NOISE_LEVELS, (NOISE_TILE_PX, NOISE_TILE_PX, 3)).astype(np.float32)
