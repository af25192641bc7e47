"""Decoded frames to small upright RGB: planes are shrunk as they lie in the decoder's memory, colour is computed last.

Converting after shrinking costs a fraction of converting whole frames. Matrices are those of the standards that the
stream names; one that names none is taken as players do, BT.709 from 720 lines on and BT.601 below. Transfer curves are
left as they are.
"""

import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import av
import av.video.reformatter
import cv2
import numpy as np

from shards.plans.view import BORDER_COLUMNS, ViewConfig, crop_box

_PLANAR = re.compile(r"yuvj?4(?:20|22|44)p(?:10le|12le)?")
_KR_KB = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593), 10: (0.2627, 0.0593)}
_FULL_RANGE = 2  # AVCOL_RANGE_JPEG


class Pictures:
    """Shrinks the frames of one clip to a view (H, W = pixels of the view, C = Y, U, V or R, G, B)."""

    def __init__(self, row: Mapping[str, Any], view: ViewConfig) -> None:
        self.quarter_turns = (row["rotation_deg"] or 0) // 90
        turned = self.quarter_turns % 2 == 1
        self.height, self.width = (view.width, view.height) if turned else (view.height, view.width)
        self.sar = Fraction(row["sar_num"] or 1, row["sar_den"] or 1)
        self.inner = inner_shares(row) if view.crop == "inner_box" else (0.0, 0.0, 0.0, 0.0)
        self._boxes: dict[tuple[int, int], Sequence[int]] = {}
        self._reformatter = av.video.reformatter.VideoReformatter()

    def yuv(self, frame: av.VideoFrame) -> np.ndarray:
        """uint8 (H, W, C), not turned yet, in the range of the stream."""
        if not _PLANAR.fullmatch(frame.format.name):
            frame = self._reformatter.reformat(frame, format="yuv444p")
        box = self._box(frame.height, frame.width)
        return cv2.merge([self._shrink(plane, frame, box) for plane in frame.planes])

    def rgb(self, yuv_THWC: Sequence[np.ndarray], frame: av.VideoFrame) -> np.ndarray:
        """uint8 RGB of frames that all have the colour space of this one, upright, shape (T, H, W, C)."""
        flat = np.concatenate(yuv_THWC)
        rgb = cv2.transform(flat, yuv_to_rgb(frame.colorspace, frame.color_range, frame.height))
        rgb_THWC = rgb.reshape(len(yuv_THWC), self.height, self.width, 3)
        return np.ascontiguousarray(np.rot90(rgb_THWC, self.quarter_turns, axes=(1, 2)))

    def _box(self, height: int, width: int) -> Sequence[int]:
        if (height, width) not in self._boxes:
            top, right, bottom, left = self.inner
            inner_top, inner_left = round(top * height), round(left * width)
            inner = height - inner_top - round(bottom * height), width - inner_left - round(right * width)
            box = crop_box(*inner, self.sar, self.height, self.width)
            self._boxes[height, width] = (inner_top + box[0], inner_left + box[1], *box[2:])
        return self._boxes[height, width]

    def _shrink(self, plane: Any, frame: av.VideoFrame, box: Sequence[int]) -> np.ndarray:
        depth_bits = frame.format.components[0].bits
        samples = np.frombuffer(plane, np.uint8 if depth_bits == 8 else np.dtype("<u2"))
        samples = samples.reshape(plane.height, -1)[:, : plane.width]
        top, left, height, width = _scaled(box, plane.height / frame.height, plane.width / frame.width)
        kept = samples[top : top + height, left : left + width]
        if kept.shape != (self.height, self.width):
            shrinks = height >= self.height and width >= self.width
            kept = cv2.resize(
                kept, (self.width, self.height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
            )
        return kept if depth_bits == 8 else cv2.convertScaleAbs(kept, alpha=0.5 ** (depth_bits - 8))


def inner_shares(row: Mapping[str, Any]) -> tuple[float, float, float, float]:
    """What to cut off a coded picture: shares of its height or width, clockwise from the top.

    Args:
        row: with BORDER_COLUMNS, of the upright picture. A border that is null is none; borders that meet (a clip that
            is black all over) leave the whole picture.
    """
    upright = [row[name] or 0.0 for name in BORDER_COLUMNS]
    top, right, bottom, left = upright
    if top + bottom >= 1 or left + right >= 1:
        return 0.0, 0.0, 0.0, 0.0
    turns = (row["rotation_deg"] or 0) // 90
    coded = [upright[(side - turns) % 4] for side in range(4)]  # turned counter-clockwise, the right side comes up
    return coded[0], coded[1], coded[2], coded[3]


def yuv_to_rgb(colorspace: int, color_range: int, height: int) -> np.ndarray:
    """Affine matrix (3, 4) from 8-bit Y, U, V to R, G, B; equations of ITU-T H.273, section 8.3.

    Args:
        colorspace: AVColorSpace of the stream.
        color_range: AVColorRange; full range if 2, limited otherwise.
        height: px, decides where the stream names no colour space.
    """
    kr, kb = _KR_KB.get(colorspace) or (_KR_KB[1] if height >= 720 else _KR_KB[6])
    kg = 1 - kr - kb
    chroma = np.array([[0, 2 * (1 - kr)], [-2 * kb * (1 - kb) / kg, -2 * kr * (1 - kr) / kg], [2 * (1 - kb), 0]])
    full = color_range == _FULL_RANGE
    luma_gain, chroma_gain, black = (1.0, 1.0, 0) if full else (255 / 219, 255 / 224, 16)
    linear = np.hstack([np.full((3, 1), luma_gain), chroma * chroma_gain])
    return np.hstack([linear, -linear @ np.array([[black], [128], [128]])])


def _scaled(box: Sequence[int], vertical: float, horizontal: float) -> tuple[int, int, int, int]:
    top, left, height, width = box
    return (
        round(top * vertical),
        round(left * horizontal),
        max(1, round(height * vertical)),
        max(1, round(width * horizontal)),
    )
