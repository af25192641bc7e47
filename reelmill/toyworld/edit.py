"""Shots joined into one stream of frames: hard cuts, fades through black, dissolves, wipes.

Shapes: T = frames, H, W = pixels, C = red, green, blue.
"""

from collections.abc import Iterator

import numpy as np

from reelmill.toyworld.dress import brightened, dress, flashed
from reelmill.toyworld.plan import ShotPlan, VideoPlan
from reelmill.toyworld.render import render_shot
from reelmill.toyworld.truth import TransitionKind


def video_frames(video: VideoPlan) -> Iterator[np.ndarray]:
    """All frames of a file in order, uint8 RGB, shape (H, W, C); holds two shots at a time."""
    tail_THWC = np.empty((0, video.size_px, video.size_px, 3), np.uint8)
    for index, shot in enumerate(video.shots):
        visible = video.visible_frames(index)
        frames_THWC = shot_frames(video, shot, visible)
        own = slice(shot.start_frame - visible.start, shot.end_frame - visible.start)
        yield from join(shot.transition, tail_THWC, frames_THWC[: own.start])
        yield from frames_THWC[own]
        tail_THWC = frames_THWC[own.stop :]


def shot_frames(video: VideoPlan, shot: ShotPlan, visible: range) -> np.ndarray:
    """A shot's frames with its defects, before any transition, uint8, shape (T, H, W, C)."""
    start_s = video.time_s(shot.start_frame)
    times_s = np.array([video.time_s(frame) - start_s for frame in visible])
    frames_THWC = render_shot(shot.shot, times_s, video.size_px)
    sideways = shot.shot.combination.direction in ("left", "right")
    frames_THWC = dress(frames_THWC, shot.defects, sideways, shot.shot.seed)
    if shot.brightness_step:
        frames_THWC = brightened(frames_THWC, shot.brightness_step)
    for frame in shot.flash_frames:
        frames_THWC[frame - visible.start] = flashed(frames_THWC[frame - visible.start])
    return frames_THWC


def join(kind: TransitionKind, tail_THWC: np.ndarray, head_THWC: np.ndarray) -> np.ndarray:
    """The frames of a transition from the end of one shot (tail) to the beginning of the next (head).

    A fade shows the tail down to black, then the head up from it; the others show both at once.
    """
    match kind:
        case "fade":
            return np.concatenate([_faded(tail_THWC, 1, 0), _faded(head_THWC, 0, 1)])
        case "dissolve":
            share_T111 = _steps(len(head_THWC))[:, None, None, None]
            return (tail_THWC * (1 - share_T111) + head_THWC * share_T111).astype(np.uint8)
        case "wipe":
            columns_W = np.arange(head_THWC.shape[2]) / head_THWC.shape[2]
            is_head_T1W1 = (columns_W < _steps(len(head_THWC))[:, None])[:, None, :, None]
            return np.where(is_head_T1W1, head_THWC, tail_THWC)
    return head_THWC  # start and cut: no frames


def _steps(num_frames: int) -> np.ndarray:
    """Evenly spaced shares strictly between 0 and 1."""
    return np.arange(1, num_frames + 1) / (num_frames + 1)


def _faded(frames_THWC: np.ndarray, first: float, last: float) -> np.ndarray:
    """Light going from `first` towards `last`: every frame is darkened, the one at the black end wholly."""
    num_frames = len(frames_THWC)
    gains_T = np.arange(num_frames) / num_frames if first == 0 else np.arange(num_frames - 1, -1, -1) / num_frames
    return (frames_THWC * gains_T[:, None, None, None]).astype(np.uint8)
