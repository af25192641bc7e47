"""Captioned pictures of toy shots, made as curation makes them: frames sampled, written as JPEG, laid out as one.

Every combination occurs, the held-out ones too: the captioner is a tool that must name what it is shown. Only the
text-to-video model must never have seen them.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle

import cv2
import numpy as np

from curate.models.caption_layout import tile_frames
from reelmill.toyworld.dress import brightened, dress, flashed
from reelmill.toyworld.encode import RECIPES
from reelmill.toyworld.plan import SHOT_DEFECTS
from reelmill.toyworld.render import Shot, draw_shot, render_shot
from reelmill.toyworld.truth import Defect
from reelmill.toyworld.world import Combination, combinations

LAYOUT, TILE_PX = "grid_motion", 32
RAW_PX = 96
CLIP_S = (1.9, 2.7)
INTERVALS_S = (0.125, 0.125, 0.2, 0.25)  # of model frames; a scan is configured to one of about these
JPEG_QUALITIES = (35, 95)  # low ones stand in for the wear of a video codec
DEFECT_SHARE = 0.2


def captioned_pictures(num_clips: int, seed: int) -> Iterator[tuple[np.ndarray, str]]:
    """Pictures (uint8 RGB, 64x64) with their captions, every combination equally often."""
    rng = np.random.default_rng(seed)
    deck = cycle(combinations())
    for _ in range(num_clips):
        frames_THWC, caption = _worn_clip(rng, next(deck))
        yield tile_frames(list(frames_THWC), LAYOUT, TILE_PX), caption


def sample_times(rng: np.random.Generator, clip_s: float, interval_s: float, rate: float) -> np.ndarray:
    """When a scan samples a clip: the first frame at or after every multiple of the interval, seconds, increasing.

    The clip begins anywhere between two multiples, as it does in the middle of a file.
    """
    wanted_T = np.arange(rng.uniform(0, interval_s), clip_s, interval_s)
    frames = {int(frame) for frame in np.ceil(wanted_T * rate - 1e-6)}
    return np.array([frame / rate for frame in sorted(frames) if frame < clip_s * rate])


def jpeg_worn(frame_HWC: np.ndarray, quality: int) -> np.ndarray:
    """A frame written as JPEG and read back."""
    _, jpeg = cv2.imencode(".jpg", frame_HWC[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    bgr_HWC = cv2.imdecode(jpeg, cv2.IMREAD_COLOR)
    assert bgr_HWC is not None
    return np.ascontiguousarray(bgr_HWC[..., ::-1])


def _worn_clip(rng: np.random.Generator, combination: Combination) -> tuple[list[np.ndarray], str]:
    """Sampled frames of a new shot, some with a defect, all with the marks of compression; and the caption."""
    clip_s = rng.uniform(*CLIP_S)
    rate = float(RECIPES[rng.integers(len(RECIPES))].rate)
    times_T = sample_times(rng, clip_s, INTERVALS_S[rng.integers(len(INTERVALS_S))], rate)
    defect = SHOT_DEFECTS[rng.integers(len(SHOT_DEFECTS))] if rng.uniform() < DEFECT_SHARE else None
    shot = draw_shot(rng, combination, clip_s)
    if defect == "still":
        shot = replace(shot, speed=0.0, drift_xy=(0.0, 0.0))
    frames_THWC = _dressed(rng, render_shot(shot, times_T, RAW_PX), shot, defect)
    frames_THWC = brightened(frames_THWC, rng.uniform(-15, 15))
    quality = int(rng.integers(*JPEG_QUALITIES))
    caption = combination.still_caption if defect == "still" else combination.caption
    return [jpeg_worn(frame_HWC, quality) for frame_HWC in frames_THWC], caption


def _dressed(rng: np.random.Generator, frames_THWC: np.ndarray, shot: Shot, defect: Defect | None) -> np.ndarray:
    if defect is None:
        return frames_THWC
    if defect == "flash":
        burnt = rng.integers(len(frames_THWC))
        frames_THWC[burnt] = flashed(frames_THWC[burnt])
    sideways = shot.combination.direction in ("left", "right")
    return dress(frames_THWC, (defect,), sideways, shot.seed)
