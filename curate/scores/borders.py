"""Black borders (letterbox, pillarbox) that stay for the whole clip."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from pydantic import Field

from curate.scan import Span
from curate.scores.light import sampled
from curate.stage import Clip, SpanStage
from shards.config import Config
from shards.schema import column


class BordersConfig(Config):
    """What a black border is."""

    frames_per_s: float = Field(default=2.0, gt=0, description="Frames looked at, per second.")
    max_level: int = Field(
        default=32, ge=0, le=255, description="Luma that a border does not exceed; black is stored as 16."
    )
    max_spread_levels: int = Field(
        default=10, ge=0, description="Luma varies by at most this in a border; night varies more."
    )


class Box(NamedTuple):
    """Width of the border on each side, as a share of the picture's width (left, right) or height (top, bottom)."""

    left: float
    right: float
    top: float
    bottom: float

    @property
    def border_share(self) -> float:
        """Share of the picture's area that is border."""
        return 1 - (1 - self.left - self.right) * (1 - self.top - self.bottom)


def border_box(grey_THW: np.ndarray, config: BordersConfig) -> Box:
    """Borders of a span: lines from the edge inwards that are flat and black in every frame.

    A span that is black all over has borders that meet in its middle.

    Args:
        grey_THW: uint8 luma, shape (T, H, W), at least one frame.
        config: what is black.
    """
    brightest_HW, darkest_HW = grey_THW.max(axis=0), grey_THW.min(axis=0)
    top, bottom = _black_lines(brightest_HW, darkest_HW, config)
    left, right = _black_lines(brightest_HW.T, darkest_HW.T, config)
    height, width = brightest_HW.shape
    if top + bottom >= height or left + right >= width:
        return Box(0.5, 0.5, 0.5, 0.5)
    return Box(left / width, right / width, top / height, bottom / height)


def _black_lines(brightest_HW: np.ndarray, darkest_HW: np.ndarray, config: BordersConfig) -> tuple[int, int]:
    """Number of black lines before the first and after the last line of picture.

    A twentieth of a line may be off: ringing of the codec near the picture.
    """
    high_H = np.quantile(brightest_HW, 0.95, axis=1)
    low_H = np.quantile(darkest_HW, 0.05, axis=1)
    picture = np.flatnonzero((high_H > config.max_level) | (high_H - low_H > config.max_spread_levels))
    if not len(picture):
        return len(high_H), 0
    return int(picture[0]), int(len(high_H) - 1 - picture[-1])


class Borders(SpanStage):
    """Border scores of a clip, from its small frames."""

    name, version = "borders", 1
    adds = pa.schema(
        [
            column("border_left", pa.float32(), "widths", "Black border on the left."),
            column("border_right", pa.float32(), "widths", "Black border on the right."),
            column("border_top", pa.float32(), "heights", "Black border at the top."),
            column("border_bottom", pa.float32(), "heights", "Black border at the bottom."),
            column("border_share", pa.float32(), "", "Share of the picture's area that is black border."),
        ]
    )

    def __init__(self, config: BordersConfig) -> None:
        self.config = config

    def score(self, clip: Clip, span: Span) -> Mapping[str, object]:
        """Values of one clip."""
        box = border_box(sampled(span.grey_THW, span.time_T, self.config.frames_per_s), self.config)
        return {**{f"border_{side}": width for side, width in box._asdict().items()}, "border_share": box.border_share}

    def identity(self) -> dict[str, object]:
        """Name, version and knobs."""
        return {**super().identity(), "config": self.config.resolved()}
