"""Which samples share batches: the buckets that a plan and a view ask for, and the bucket of every row. Pure.

A view of one size makes one bucket. A view that lists shapes makes one of each, and a clip goes to the shape that
shows most of it: among those that it covers (it lasts long enough, its cropped picture need not be enlarged) the one
with the largest product of frames, height, width and the part of the picture that cropping keeps; if it covers none,
the one that enlarges it least.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from shards.errors import ConfigError
from shards.plans.plan_config import PlanConfig
from shards.plans.view import ViewConfig, fits, shape_of
from shards.schema import member_column, members_of

pc: Any = pyarrow.compute  # its stubs refuse the plain values that the functions take

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Kind:
    """A bucket before its samples are known.

    Attributes:
        name: of the bucket: `view`, `images` or the shape.
        view: how its clips are shown; None: as whoever reads likes.
        batch_size: samples per global batch.
        is_image: shows single frames beside the videos.
        arrays: of samples whose arrays are these, see `array_shapes`; None: whatever they are.
    """

    name: str
    view: ViewConfig | None
    batch_size: int
    is_image: bool = False
    arrays: str | None = None


def bucket_kinds(config: PlanConfig, view: ViewConfig | None, tables: Sequence[pa.Table] = ()) -> list[Kind]:
    """The buckets of a plan, videos before images; those by arrays are found in the tables.

    Raises:
        ConfigError: buckets are asked for that the view does not list, or listed without being asked for, or a batch
            of the budget holds nothing.
    """
    if config.bucket_by == "arrays":
        if config.images:
            raise ConfigError(
                f"plan.images is {config.images} and plan.bucket_by is arrays; stored arrays have no single frames; "
                f"set images to 0"
            )
        names = sorted({str(name) for table in tables for name in pc.unique(array_shapes(table)).to_pylist()})
        return [Kind(name, None, config.global_batch, arrays=name) for name in names]
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
    if kinds and kinds[0].arrays is not None:
        places: Any = pc.index_in(array_shapes(rows), value_set=pa.array([kind.name for kind in kinds], pa.string()))
        return np.where(kept_N, places.to_numpy(zero_copy_only=False), -1).astype(np.int16)
    if [kind.view for kind in kinds] == [None]:
        best_N[kept_N] = 0
        return best_N
    best_score_N = np.full(len(rows), -np.inf)
    pictures: _Pictures | None = None
    for place, kind in enumerate(kinds):
        assert kind.view is not None
        fits_N = kept_N & fits(rows, kind.view)
        if len(kinds) == 1 and kind.view.max_enlarge is None:
            best_N[fits_N] = 0
            break
        pictures = pictures or _Pictures.of(rows)
        score_N = pictures.scores(kind.view)[pictures.picture_N]
        better_N = fits_N & (score_N > best_score_N)
        best_N[better_N], best_score_N[better_N] = place, score_N[better_N]
    return best_N


def array_shapes(rows: pa.Table) -> Any:  # the stubs know no common type
    """For each row of a plan index type and shape of its stored arrays: `f2-4x2x8x8`, or `f2-4x2x8x8_f4-77x768`.

    Raises:
        ConfigError: the samples have no arrays.
    """
    members = [member for member in members_of(rows.column_names) if member.endswith(".npy")]
    if not members:
        known = ", ".join(members_of(rows.column_names))
        raise ConfigError(f"plan.bucket_by is arrays; samples have {known}, no array; set it to view")
    texts = []
    for member in members:
        shapes = rows.column(member_column(member, "shape")).cast(pa.list_(pa.string()))
        dtypes = pc.utf8_slice_codeunits(rows.column(member_column(member, "dtype")), 1)
        texts.append(pc.binary_join_element_wise(dtypes, pc.binary_join(shapes, "x"), "-"))
    return pc.binary_join_element_wise(*texts, "_")


@dataclass(frozen=True)
class _Pictures:
    """The different pictures (M) of rows (N): few sizes make many clips.

    Attributes:
        picture_N: which of them a row has.
        height_M: coded px.
        width_M: coded px.
        sar_M: width of a pixel over its height.
        turned_M: bool; upright after a quarter turn.
    """

    picture_N: np.ndarray
    height_M: np.ndarray
    width_M: np.ndarray
    sar_M: np.ndarray
    turned_M: np.ndarray

    @classmethod
    def of(cls, rows: pa.Table) -> "_Pictures":
        height_N, width_N = _numbers(rows, "height", 1), _numbers(rows, "width", 1)
        num_N, den_N = _numbers(rows, "sar_num", 1), _numbers(rows, "sar_den", 1)
        size_N, sizes = _numbered(height_N << 32 | width_N)
        sar_N, sars = _numbered(num_N << 32 | den_N)
        turned_N = _numbers(rows, "rotation_deg", 0) % 180 == 90
        picture_N, pictures = _numbered((size_N * len(sars) + sar_N) * 2 + turned_N)
        size_M, sar_M = sizes[pictures // 2 // len(sars)], sars[pictures // 2 % len(sars)]
        num_M, den_M = sar_M >> 32, sar_M & 0xFFFFFFFF
        return cls(picture_N, size_M >> 32, size_M & 0xFFFFFFFF, num_M / den_M, pictures % 2 == 1)

    def scores(self, view: ViewConfig) -> np.ndarray:
        """How much of each picture a view shows (M); minus the enlargement where it must be enlarged."""
        to_height_M = np.where(self.turned_M, view.width, view.height)
        to_width_M = np.where(self.turned_M, view.height, view.width)
        kept_width_M = np.minimum(self.width_M, self.height_M * to_width_M / to_height_M / self.sar_M)
        kept_height_M = np.minimum(self.height_M, self.width_M * self.sar_M * to_height_M / to_width_M)
        kept_share_M = kept_width_M * kept_height_M / (self.width_M * self.height_M)
        enlarged_M = np.maximum(to_height_M / kept_height_M, to_width_M / kept_width_M)
        volume = view.num_frames * view.height * view.width
        score_M = np.where(enlarged_M <= 1 + _ROUNDING, volume * kept_share_M, -enlarged_M)
        limit = np.inf if view.max_enlarge is None else view.max_enlarge + _ROUNDING
        return np.where(enlarged_M <= limit, score_M, -np.inf)


def _numbers(rows: pa.Table, name: str, default: int) -> np.ndarray:
    values: Any = rows.column(name).cast(pa.int64()).fill_null(pa.scalar(default, pa.int64()))
    return values.to_numpy()


def _numbered(values_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each value its place in the list of different values; and that list."""
    encoded: Any = pa.array(values_N).dictionary_encode()
    return encoded.indices.to_numpy(), encoded.dictionary.to_numpy()


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
