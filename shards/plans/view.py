"""What a trainer sees of a clip: so many frames at a rate and a size. Pure: times in, frame numbers out."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field, field_validator

from shards.config import Config

_SPAN = ("num_frames", "source_start_pts", "source_end_pts", "source_time_base_num", "source_time_base_den")
# Clockwise, shares of the upright picture's height or width; curation makes them where it looks for borders.
BORDER_COLUMNS = ("border_top", "border_right", "border_bottom", "border_left")


class ViewConfig(Config):
    """Frames and pixels of a sample."""

    num_frames: int = Field(default=16, gt=0, description="Frames per sample.")
    fps: float | None = Field(
        default=8.0,
        gt=0,
        le=1000,
        description="Rate of the frames; the frame shown at each time is taken. null: consecutive frames.",
    )
    height: int = Field(default=32, gt=0, description="px; the upright picture is covered, the middle is kept.")
    width: int = Field(default=32, gt=0, description="px")
    crop: Literal["center", "inner_box"] = Field(
        default="center",
        description="The middle of the picture, or of what the columns border_* say lies within its black borders; "
        "as much of it as has the view's aspect.",
    )
    start: Literal["random", "begin", "center"] = Field(
        default="random",
        description="First frame: any from which the view fits, keyed by (seed, epoch, sample id), or a fixed one.",
    )
    shapes: tuple[str, ...] = Field(
        default=(),
        description="Several sizes, <frames>x<height>x<width> in px, e.g. 16x256x256: a bucket each, in place of "
        "num_frames, height and width. A clip goes to the one that shows most of it; see plan.bucket_by.",
    )
    max_enlarge: float | None = Field(
        default=None,
        ge=1,
        description="Leave out clips whose sides would be enlarged more than so many times; null: any.",
    )
    score_columns: tuple[str, ...] = Field(
        default=(), description="Numeric columns handed out with the batch; null becomes NaN."
    )

    @field_validator("shapes")
    @classmethod
    def _are_shapes(cls, shapes: tuple[str, ...]) -> tuple[str, ...]:
        if len({shape_of(text) for text in shapes}) < len(shapes):
            raise ValueError("a shape is listed twice; once is allowed; remove one")
        return shapes

    def with_shape(self, num_frames: int, height: int, width: int) -> "ViewConfig":
        """The same view at one size."""
        size = {"num_frames": num_frames, "height": height, "width": width}
        return self.model_copy(update={**size, "shapes": ()})

    @property
    def rate(self) -> Fraction | None:
        """`fps` as a fraction: 29.97 is 2997/100, 23.976023976 is 24000/1001."""
        return None if self.fps is None else Fraction(self.fps).limit_denominator(1001)


def shape_of(text: str) -> tuple[int, int, int]:
    """Frames, height and width (px) of a shape such as 16x256x256.

    Raises:
        ValueError: the text is no shape.
    """
    match = re.fullmatch(r"([1-9][0-9]*)x([1-9][0-9]*)x([1-9][0-9]*)", text)
    if match is None:
        raise ValueError(f"shape is {text!r}; <frames>x<height>x<width> is allowed; write 16x256x256")
    frames, height, width = map(int, match.groups())
    return frames, height, width


@dataclass(frozen=True)
class ClipTimes:
    """When a clip's frames are shown.

    Attributes:
        pts_T: int64, of each presented frame in the clip file, increasing.
        time_base: seconds per pts.
        duration_s: of the whole clip; the last frame is shown until then.
    """

    pts_T: np.ndarray
    time_base: Fraction
    duration_s: Fraction

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "ClipTimes":
        """The times of a row of the plan index."""
        source_base = Fraction(row["source_time_base_num"], row["source_time_base_den"])
        return cls(
            np.asarray(row["frame_pts"], np.int64),
            Fraction(row["time_base_num"], row["time_base_den"]),
            (row["source_end_pts"] - row["source_start_pts"]) * source_base,
        )


def frame_numbers(times: ClipTimes, view: ViewConfig, generator: np.random.Generator | None) -> np.ndarray:
    """Numbers of the clip's frames that the view shows, never decreasing.

    The first one is chosen among the frames from which the view fits; each later one is the frame on the screen at
    first + k / fps, computed in integers.

    Raises:
        ValueError: the view does not fit the clip; `fits` says so beforehand.
    """
    num_starts = _num_starts(times, view)
    if num_starts < 1:
        raise ValueError(f"clip has {len(times.pts_T)} frames in {float(times.duration_s):.3f} s; the view needs more")
    first = _first(num_starts, view, generator)
    rate = view.rate
    if rate is None:
        return np.arange(first, first + view.num_frames)
    step = 1 / (rate * times.time_base)  # pts per frame of the view
    wanted_T = times.pts_T[first] + np.arange(view.num_frames) * step.numerator // step.denominator
    return np.searchsorted(times.pts_T, wanted_T, side="right") - 1


def fits(table: pa.Table, view: ViewConfig) -> np.ndarray:
    """For each row of a plan index whether the view fits the clip: bool (N,), in exact integers."""
    column_N = {name: table.column(name).to_numpy() for name in _SPAN}
    rate = view.rate
    if rate is None:
        return column_N["num_frames"] >= view.num_frames
    span_N = (column_N["source_end_pts"] - column_N["source_start_pts"]) * column_N["source_time_base_num"]
    return span_N * rate.numerator > column_N["source_time_base_den"] * ((view.num_frames - 1) * rate.denominator)


def _num_starts(times: ClipTimes, view: ViewConfig) -> int:
    """Frames 0 … n-1 are those after which the whole view is still within the clip."""
    rate = view.rate
    if rate is None:
        return len(times.pts_T) - view.num_frames + 1
    latest = (
        times.duration_s - Fraction(view.num_frames - 1) / rate
    ) / times.time_base  # exclusive, pts from the first
    return int(np.searchsorted(times.pts_T - times.pts_T[0], -(-latest.numerator // latest.denominator), side="left"))


def _first(num_starts: int, view: ViewConfig, generator: np.random.Generator | None) -> int:
    if view.start == "begin":
        return 0
    if view.start == "center" or generator is None:
        return (num_starts - 1) // 2
    return int(generator.random() * num_starts)


def crop_box(height: int, width: int, sar: Fraction, target_height: int, target_width: int) -> Sequence[int]:
    """Largest middle part of a picture that has the target's aspect: top, left, height, width in coded px.

    Args:
        height: of the coded picture.
        width: of the coded picture.
        sar: width of a pixel over its height.
        target_height: of the view, turned to the coded picture's orientation.
        target_width: of the view, likewise.
    """
    kept_width = min(width, max(1, round(height * Fraction(target_width, target_height) / sar)))
    kept_height = min(height, max(1, round(width * sar * Fraction(target_height, target_width))))
    return (height - kept_height) // 2, (width - kept_width) // 2, kept_height, kept_width
