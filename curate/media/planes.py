"""Decoded pictures made small on the decoder's own planes: the costly part of a scan, so nothing full-sized is copied.

Shrinking Y, U and V by area mean with OpenCV, each from the memory the decoder wrote, costs a fifteenth of a decode;
swscale to the same size costs a quarter. Bits beyond 8 are dropped after shrinking; full range stays full range.
"""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from av.video.frame import VideoFrame
    from av.video.plane import VideoPlane

_PLANAR_YUV = re.compile(r"yuva?j?4\d\dp(?:(9|10|12|14|16)le)?")
_TURNS = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_CLOCKWISE}
_FULL_RANGE = 2  # AVCOL_RANGE_JPEG
# Weights of red and blue in luma, by AVColorSpace: BT.709, FCC, BT.470BG, SMPTE 170M, SMPTE 240M, BT.2020.
_LUMA_WEIGHTS = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
    10: (0.2627, 0.0593),
}
_HD_HEIGHT_PX = 720
_ROWS_PER_PIXEL = 4


@dataclass(frozen=True)
class Planes:
    """Y, U and V of one picture: views of the decoder's memory, which `frame` keeps alive.

    Attributes:
        yuv: three arrays (H, W), uint8 or uint16; chroma may be smaller than luma.
        num_bits: of each value.
        is_converted: the decoder gave another format, and swscale made 4:2:0 of it.
        frame: the picture.
    """

    yuv: tuple[np.ndarray, np.ndarray, np.ndarray]
    num_bits: int
    is_converted: bool
    frame: "VideoFrame"


def planes_of(frame: "VideoFrame") -> Planes:
    """Views of a picture's planes; formats other than planar YUV are converted first."""
    match = _PLANAR_YUV.fullmatch(frame.format.name)
    if match is None:
        frame = _converted(frame)
    num_bits = int(match[1]) if match and match[1] else 8
    y, u, v = (_view(plane, num_bits) for plane in frame.planes[:3])
    return Planes((y, u, v), num_bits, match is None, frame)


def _converted(frame: "VideoFrame") -> "VideoFrame":
    """The picture as BT.601 4:2:0 of limited range, which is what the consumers of small frames take them for."""
    return frame.reformat(
        format="yuv420p",
        src_color_range=frame.color_range,
        dst_colorspace="ITU601",
        dst_color_range="MPEG",
        threads=1,
    )


def skip_rows(plane_HW: np.ndarray, height: int) -> np.ndarray:
    """Every n-th row, as many as leave each of `height` pixels the mean of four or more of them.

    Rows are what costs: each is memory that the decoder has pushed out of the cache by now.
    """
    step = max(1, plane_HW.shape[0] // (height * _ROWS_PER_PIXEL))
    return plane_HW[step // 2 :: step]


def shrink(plane_HW: np.ndarray, num_bits: int, out_HW: np.ndarray, last_step: int = cv2.INTER_AREA) -> None:
    """Resize a plane into `out_HW` (uint8): halved by area mean as often as possible, then by `last_step`.

    Exact halving is the one size that OpenCV has vector code for, ten times faster than any other. Small frames made
    so are about 40 dB from the mean over all pixels.
    """
    height, width = out_HW.shape
    while plane_HW.shape[0] >= 2 * height and plane_HW.shape[1] >= 2 * width:
        high, wide = plane_HW.shape[0] // 2, plane_HW.shape[1] // 2
        plane_HW = cv2.resize(plane_HW[: 2 * high, : 2 * wide], (wide, high), interpolation=cv2.INTER_AREA)
    if num_bits == 8:
        cv2.resize(plane_HW, (width, height), dst=out_HW, interpolation=last_step)
        return
    wide = cv2.resize(plane_HW, (width, height), interpolation=last_step)
    np.right_shift(wide, num_bits - 8, out=out_HW, casting="unsafe")


def turn(picture: np.ndarray, rotation_deg: int) -> np.ndarray:
    """A picture turned counter-clockwise by 0, 90, 180 or 270 degrees."""
    return picture if rotation_deg == 0 else cv2.rotate(picture, _TURNS[rotation_deg])


class SmallFrames:
    """Makes upright I420 pictures of one size; the array that `make` returns is overwritten by the next call."""

    def __init__(self, width: int, height: int, rotation_deg: int) -> None:
        """Take the size before the turn, both multiples of 4."""
        self.rotation_deg = rotation_deg
        self._flat = np.empty(width * height * 3 // 2, np.uint8)
        self._yuv = _i420_views(self._flat, width, height)
        self._turned = np.empty_like(self._flat)
        self._upright_width = height if rotation_deg % 180 else width
        self._turned_yuv = _i420_views(self._turned, *((height, width) if rotation_deg % 180 else (width, height)))

    def make(self, planes: Planes) -> np.ndarray:
        """One picture as a flat array of I420 bytes."""
        for plane_HW, out_HW in zip(planes.yuv, self._yuv, strict=True):
            shrink(skip_rows(plane_HW, len(out_HW)), planes.num_bits, out_HW)
        if self.rotation_deg == 0:
            return self._flat
        for small_HW, out_HW in zip(self._yuv, self._turned_yuv, strict=True):
            out_HW[:] = turn(small_HW, self.rotation_deg)
        return self._turned

    def as_picture(self, flat: np.ndarray) -> np.ndarray:
        """What `make` gave as (H * 3 / 2, W)."""
        return flat.reshape(-1, self._upright_width)


def bgr(planes: Planes, width: int, height: int, rotation_deg: int) -> np.ndarray:
    """A picture as uint8 BGR of a size before the turn, upright, by its own matrix and range."""
    yuv_HWC = np.empty((height, width, 3), np.uint8)
    small_HW = np.empty((height, width), np.uint8)
    for channel, plane_HW in enumerate(planes.yuv):
        shrink(plane_HW, planes.num_bits, small_HW, last_step=cv2.INTER_LINEAR)
        yuv_HWC[:, :, channel] = small_HW
    return turn(cv2.transform(yuv_HWC, _bgr_from_yuv(planes.frame)), rotation_deg)


def _i420_views(flat: np.ndarray, width: int, height: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    luma, chroma = width * height, width * height // 4
    half = (height // 2, width // 2)
    u, v = flat[luma : luma + chroma].reshape(half), flat[luma + chroma :].reshape(half)
    return flat[:luma].reshape(height, width), u, v


def _view(plane: "VideoPlane", num_bits: int) -> np.ndarray:
    dtype = np.dtype("u1" if num_bits == 8 else "<u2")
    rows = np.frombuffer(memoryview(plane), dtype).reshape(plane.height, plane.line_size // dtype.itemsize)
    return rows[:, : plane.width]


def _bgr_from_yuv(frame: "VideoFrame") -> np.ndarray:
    """The 3x4 matrix from 8-bit Y'CbCr to B'G'R' (ITU-R BT.601 and BT.709, section on digital coding)."""
    red, blue = _LUMA_WEIGHTS.get(int(frame.colorspace), _LUMA_WEIGHTS[1 if frame.height >= _HD_HEIGHT_PX else 6])
    green = 1 - red - blue
    is_full = int(frame.color_range) == _FULL_RANGE or "yuvj" in frame.format.name
    luma_gain, chroma_gain, black = (1.0, 1.0, 0.0) if is_full else (255 / 219, 255 / 224, 16.0)
    cb, cr = 2 * (1 - blue) * chroma_gain, 2 * (1 - red) * chroma_gain
    matrix = np.array([[luma_gain, cb, 0], [luma_gain, -cb * blue / green, -cr * red / green], [luma_gain, 0, cr]])
    offset = matrix @ np.array([black, 128.0, 128.0])
    return np.hstack([matrix, -offset[:, None]])
