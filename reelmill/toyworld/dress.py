"""Defects of a shot's frames, and the boxes they leave: what a curator should find.

Shapes: T = frames, H, W = pixels, C = red, green, blue.
"""

import cv2
import numpy as np

from reelmill.toyworld.truth import Box, Defect

DARK_GAIN = 0.1
BLUR_SHARE = 1 / 16  # sigma, of the side
BAR_SHARE = 1 / 8  # of the side, each of two bars
MARK_OPACITY = 0.6
FLASH_OPACITY = 0.9
LINES = (
    "how are you",
    "good evening",
    "see you soon",
    "it was late",
    "never mind",
    "who is it",
    "well, well",
    "not again",
)


def dress(frames_THWC: np.ndarray, defects: tuple[Defect, ...], sideways: bool, seed: int) -> np.ndarray:
    """The frames with all defects but `still` and `flash`, which are not a look.

    Args:
        frames_THWC: uint8.
        defects: of the shot.
        sideways: the shape moves left or right; bars are put where it does not go.
        seed: chooses the subtitle.
    """
    for defect in defects:
        match defect:
            case "dark":
                frames_THWC = (frames_THWC * DARK_GAIN).astype(np.uint8)
            case "blur":
                sigma_px = frames_THWC.shape[1] * BLUR_SHARE
                frames_THWC = np.stack([cv2.GaussianBlur(frame_HWC, (0, 0), sigma_px) for frame_HWC in frames_THWC])
            case "border":
                frames_THWC = _barred(frames_THWC, picture_box(frames_THWC.shape[1], sideways))
            case "mark":
                frames_THWC = _painted(frames_THWC, _mark(frames_THWC.shape[1]))
            case "subtitle":
                frames_THWC = _painted(frames_THWC, _subtitle(frames_THWC.shape[1], seed))
    return frames_THWC


def flashed(frame_HWC: np.ndarray) -> np.ndarray:
    """A frame as a photographer's flash burns it out."""
    return (frame_HWC * (1 - FLASH_OPACITY) + 255 * FLASH_OPACITY).astype(np.uint8)


def brightened(frames_THWC: np.ndarray, levels: float) -> np.ndarray:
    """Every value raised by so many levels."""
    return np.clip(frames_THWC.astype(np.int16) + round(levels), 0, 255).astype(np.uint8)


def picture_box(size_px: int, sideways: bool) -> Box:
    """Where the picture shows between two bars: above and below a sideways motion, else left and right of it."""
    bar_px = round(size_px * BAR_SHARE)
    if sideways:
        return Box(left=0, top=bar_px, right=size_px, bottom=size_px - bar_px)
    return Box(left=bar_px, top=0, right=size_px - bar_px, bottom=size_px)


def mark_box(size_px: int) -> Box:
    """Where the burnt-in mark lies."""
    return _box(_mark(size_px))


def subtitle_box(size_px: int, seed: int) -> Box:
    """Where the subtitle's letters lie, their dark outline included."""
    return _box(_subtitle(size_px, seed))


def _barred(frames_THWC: np.ndarray, box: Box) -> np.ndarray:
    barred_THWC = np.zeros_like(frames_THWC)
    inside = (slice(None), slice(box.top, box.bottom), slice(box.left, box.right))
    barred_THWC[inside] = frames_THWC[inside]
    return barred_THWC


def _mark(size_px: int) -> np.ndarray:
    """A ring and a bar in the top right corner: float32 layer, shape (H, W, 4), RGB 0 to 255 and opacity 0 to 1."""
    alpha_HW = np.zeros((size_px, size_px), np.uint8)
    unit = size_px / 96
    centre = (round(size_px - 14 * unit), round(12 * unit))
    cv2.circle(alpha_HW, centre, round(6 * unit), (255,), max(1, round(2 * unit)), cv2.LINE_AA)
    cv2.line(alpha_HW, (centre[0] - round(9 * unit), centre[1]), (centre[0] + round(9 * unit), centre[1]), (255,), 2)
    return _layer(np.full((size_px, size_px), 255, np.uint8), alpha_HW, MARK_OPACITY)


def _subtitle(size_px: int, seed: int) -> np.ndarray:
    """A line of white letters with a dark outline near the bottom: a layer as of `_mark`."""
    text, font, scale = LINES[seed % len(LINES)], cv2.FONT_HERSHEY_SIMPLEX, 0.4 * size_px / 96
    (width_px, _), _ = cv2.getTextSize(text, font, scale, 1)
    corner = ((size_px - width_px) // 2, round(size_px * 0.9))
    outline_HW, letters_HW = np.zeros((2, size_px, size_px), np.uint8)
    cv2.putText(outline_HW, text, corner, font, scale, (255,), 3, cv2.LINE_AA)
    cv2.putText(letters_HW, text, corner, font, scale, (255,), 1, cv2.LINE_AA)
    return _layer(letters_HW, outline_HW, 1.0)


def _layer(grey_HW: np.ndarray, alpha_HW: np.ndarray, opacity: float) -> np.ndarray:
    alpha = alpha_HW.astype(np.float32) * (opacity / 255)
    return np.dstack([grey_HW.astype(np.float32)] * 3 + [alpha])


def _painted(frames_THWC: np.ndarray, layer_HW4: np.ndarray) -> np.ndarray:
    alpha_HW1 = layer_HW4[..., 3:]
    return (frames_THWC * (1 - alpha_HW1) + layer_HW4[..., :3] * alpha_HW1).astype(np.uint8)


def _box(layer_HW4: np.ndarray) -> Box:
    left, top, width, height = cv2.boundingRect((layer_HW4[..., 3] > 0).astype(np.uint8))
    return Box(left=left, top=top, right=left + width, bottom=top + height)
