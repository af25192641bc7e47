"""Which samples share batches: the buckets that a plan and a view ask for, and the bucket of every row. Pure.

A view of one size makes one bucket. A view that lists shapes makes one of each, and a clip goes to the shape that
shows most of it: among those that it covers (it lasts long enough, its cropped picture need not be enlarged) the one
with the largest product of frames, height, width and the part of the picture that cropping keeps; if it covers none,
the one that enlarges it least.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from shards.errors import ConfigError
from shards.plan_config import PlanConfig
from shards.view import ViewConfig, fits, shape_of

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Kind:
    """A bucket before its samples are known.

    Attributes:
        name: of the bucket: `view`, `images` or the shape.
        view: how its clips are shown; None: as whoever reads likes.
        batch_size: samples per global batch.
        is_image: shows single frames beside the videos.
    """

    name: str
    view: ViewConfig | None
    batch_size: int
    is_image: bool = False


def bucket_kinds(config: PlanConfig, view: ViewConfig | None) -> list[Kind]:
    """The buckets of a plan, videos before images.

    Raises:
        ConfigError: buckets are asked for that the view does not list, or listed without being asked for, or a batch
            of the budget holds nothing.
    """
    if config.bucket_by == "view":
        if view is not None and view.shapes:
            raise ConfigError(
                f"view.shapes is {list(view.shapes)} and plan.bucket_by is view; shape or tokens read them; set it"
            )
        kinds = [Kind("view", view, config.global_batch)]
        if config.images:
            still = None if view is None else view.with_shape(1, view.height, view.width)
            kinds.append(Kind("images", still, config.global_batch, is_image=True))
        return kinds
    if view is None or not view.shapes:
        raise ConfigError(
            f"plan.bucket_by is {config.bucket_by} and view.shapes is empty; list shapes such as 16x256x256 there"
        )
    shapes = [shape_of(text) for text in view.shapes]
    if not config.images:
        return [_kind(config, view, shape, is_image=False) for shape in shapes]
    stills = [shape for shape in shapes if shape[0] == 1] or list(dict.fromkeys((1, *shape[1:]) for shape in shapes))
    videos = [shape for shape in shapes if shape[0] > 1]
    return [_kind(config, view, shape, shape in stills) for shape in [*videos, *stills]]


def num_tokens(config: PlanConfig, frames: int, height: int, width: int) -> int:
    """Tokens of one clip of this shape; a part of a token counts as one."""
    return math.prod(-(-size // unit) for size, unit in zip((frames, height, width), config.token_size, strict=True))


def assign(rows: pa.Table, kept_N: np.ndarray, kinds: Sequence[Kind]) -> np.ndarray:
    """For each row the place in `kinds` of the one that shows it best, -1 for none: int16.

    Args:
        rows: of a plan index (N).
        kept_N: bool; rows that take part.
        kinds: all of videos, or all of images.
    """
    best_N = np.full(len(rows), -1, np.int16)
    if [kind.view for kind in kinds] == [None]:
        best_N[kept_N] = 0
        return best_N
    best_score_N = np.full(len(rows), -np.inf)
    for place, kind in enumerate(kinds):
        assert kind.view is not None
        fits_N = kept_N & fits(rows, kind.view)
        if len(kinds) == 1 and kind.view.max_enlarge is None:
            best_N[fits_N] = 0
            break
        enlarge_N, kept_share_N = _cropped(rows, kind.view)
        fits_N &= enlarge_N <= (np.inf if kind.view.max_enlarge is None else kind.view.max_enlarge + _ROUNDING)
        volume = kind.view.num_frames * kind.view.height * kind.view.width
        score_N = np.where(enlarge_N <= 1 + _ROUNDING, volume * kept_share_N, -enlarge_N)
        better_N = fits_N & (score_N > best_score_N)
        best_N[better_N], best_score_N[better_N] = place, score_N[better_N]
    return best_N


def _cropped(rows: pa.Table, view: ViewConfig) -> tuple[np.ndarray, np.ndarray]:
    """How many times a side of the cropped picture is enlarged (<= 1: not), and which part of the picture is kept."""
    height_N, width_N = _numbers(rows, "height", 1), _numbers(rows, "width", 1)
    sar_N = _numbers(rows, "sar_num", 1) / _numbers(rows, "sar_den", 1)
    turned_N = _numbers(rows, "rotation_deg", 0) % 180 == 90
    to_height_N = np.where(turned_N, view.width, view.height)
    to_width_N = np.where(turned_N, view.height, view.width)
    kept_width_N = np.minimum(width_N, height_N * to_width_N / to_height_N / sar_N)
    kept_height_N = np.minimum(height_N, width_N * sar_N * to_height_N / to_width_N)
    enlarge_N = np.maximum(to_height_N / kept_height_N, to_width_N / kept_width_N)
    return enlarge_N, kept_width_N * kept_height_N / (width_N * height_N)


def _numbers(rows: pa.Table, name: str, default: float) -> np.ndarray:
    return rows.column(name).fill_null(pa.scalar(default, rows.column(name).type)).to_numpy().astype(np.float64)


def _kind(config: PlanConfig, view: ViewConfig, shape: tuple[int, int, int], is_image: bool) -> Kind:
    name = "x".join(map(str, shape))
    if config.tokens_per_batch is None:
        return Kind(name, view.with_shape(*shape), config.global_batch, is_image)
    tokens, unit = num_tokens(config, *shape), config.batch_multiple_of
    size = config.tokens_per_batch // tokens // unit * unit
    if not size:
        raise ConfigError(
            f"plan.tokens_per_batch is {config.tokens_per_batch}; {unit} clips of {name} have {unit * tokens} tokens; "
            f"raise it, or lower plan.batch_multiple_of, or remove the shape"
        )
    return Kind(name, view.with_shape(*shape), size, is_image)
