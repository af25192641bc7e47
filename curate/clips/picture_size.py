"""What size the pictures of a clip have, known before it is cut."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any, NamedTuple

BORDERS = ("border_top", "border_right", "border_bottom", "border_left")


class Box(NamedTuple):
    """A part of an upright picture, in its own px, all numbers even: `top` and `left` are outside of it."""

    top: int
    left: int
    height: int
    width: int


def upright_size(video: Mapping[str, Any], short_side_px: int | None = None, box: Box | None = None) -> tuple[int, int]:
    """Displayed height and width in px of a clip of a video, both even.

    Args:
        video: row of VIDEO, or any with its picture columns.
        short_side_px: what the shorter side is shrunk to; None keeps the size.
        box: the part of the upright picture that is kept; None for all of it.
    """
    aspect = Fraction(video["sar_num"], video["sar_den"])
    is_turned = video["rotation_deg"] % 180 != 0  # then what is wide in the file stands upright
    height, width = (box.height, box.width) if box else _upright(video)
    shown = height * (aspect if is_turned else 1), width * (1 if is_turned else aspect)
    scale = min(Fraction(1), Fraction(short_side_px) / min(shown)) if short_side_px else Fraction(1)
    return _even(shown[0] * scale), _even(shown[1] * scale)


def inner_box(video: Mapping[str, Any], clip: Mapping[str, Any]) -> Box | None:
    """What is left of an upright picture without its black borders; None if there are none.

    Args:
        video: row of VIDEO.
        clip: row with the scores of BORDERS; null is none, and borders that meet (all is black) are none.
    """
    top, right, bottom, left = (clip.get(name) or 0.0 for name in BORDERS)
    if top + bottom >= 1 or left + right >= 1 or not any((top, right, bottom, left)):
        return None
    height, width = _upright(video)
    first_row, first_column = _up(top * height), _up(left * width)
    kept = height - height % 2 - _up(bottom * height) - first_row, width - width % 2 - _up(right * width) - first_column
    return Box(first_row, first_column, *kept) if min(kept) > 1 else None


def _upright(video: Mapping[str, Any]) -> tuple[int, int]:
    """Height and width of the turned picture, in its own px."""
    size = video["height"], video["width"]
    return size[::-1] if video["rotation_deg"] % 180 else size


def _even(side: Fraction | int) -> int:
    return max(2, int(side / 2) * 2)


def _up(pixels: float) -> int:
    """To the next even number: a line too much is taken away, none of the border stays; a float's fuzz is no line."""
    return -int(-(pixels - 1e-3) // 2) * 2
