"""Which rows of a plan index take part in a plan, and with what weight. Pure: rows in, arrays out."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shards.errors import ConfigError
from shards.expressions import Expression, compile_expression
from shards.plans.plan_config import PlanConfig


@dataclass(frozen=True)
class Selection:
    """Conditions and weight of a plan, proved against the columns of an index."""

    config: PlanConfig
    where: Expression | None
    weight: Expression | None
    images_where: Expression | None

    def kept(self, rows: pa.Table) -> np.ndarray:
        """bool per row: split, caption and condition let it take part."""
        return np.logical_and.reduce([np.ones(len(rows), bool), *self.conditions(rows).values()])

    def conditions(self, rows: pa.Table) -> dict[str, np.ndarray]:
        """bool per row of each condition that is set, by what it asks for."""
        found: dict[str, np.ndarray] = {}
        if self.config.split != "all":
            found[f"in split {self.config.split}"] = flags(pc.equal(rows.column("split"), pa.scalar(self.config.split)))
        if self.config.require_caption:
            captioned = [flags(rows.column(name).is_valid()) for name in self.config.captions]
            found["with a caption"] = np.logical_or.reduce(captioned)
        if self.where is not None:
            found["where plan.where is true"] = flags(self.where.evaluate(rows))
        return found

    def is_long(self, rows: pa.Table) -> np.ndarray:
        """bool per row: it has frames enough for a video."""
        return rows.column("num_frames").to_numpy() >= self.config.min_num_frames

    def is_image(self, rows: pa.Table) -> np.ndarray:
        """bool per row: single frames of it may be shown."""
        return np.ones(len(rows), bool) if self.images_where is None else flags(self.images_where.evaluate(rows))

    def weights(self, rows: pa.Table) -> np.ndarray:
        """float32 per row; what is no number >= 0 is NaN."""
        if self.weight is None:
            return np.ones(len(rows), np.float32)
        weights_N = self.weight.evaluate(rows).cast(pa.float64()).to_numpy(zero_copy_only=False)
        with np.errstate(over="ignore"):  # becomes infinite, which is refused
            weights_N = weights_N.astype(np.float32)
        return np.where(np.isfinite(weights_N) & (weights_N >= 0), weights_N, np.float32(np.nan))


def compile_selection(config: PlanConfig, schema: pa.Schema) -> Selection:
    """The selection of a plan over an index with these columns.

    Raises:
        ConfigError: an expression is none, reads unknown columns (with the nearest name) or gives another type.
    """
    weight = _compile("weight", config.weight, schema)
    if weight is not None and not (pa.types.is_floating(weight.dtype) or pa.types.is_integer(weight.dtype)):
        raise ConfigError(
            f"plan.weight is {config.weight!r}, which gives {weight.dtype}; a number is allowed; use CASE"
        )
    for name in config.captions:
        if name not in schema.names or not pa.types.is_string(schema.field(name).type):
            texts = [field.name for field in schema if pa.types.is_string(field.type)]
            near = difflib.get_close_matches(name, texts, n=1) or texts
            raise ConfigError(f"plan.captions names {name!r}; columns of text are allowed; did you mean {near[0]}?")
    where, images = (_condition(name, schema, getattr(config, name)) for name in ("where", "images_where"))
    return Selection(config, where, weight, images)


def funnel(tables: Sequence[pa.Table], config: PlanConfig) -> dict[str, int]:
    """How many rows of plan indexes are left after each condition of a plan, in order: what a user reads."""
    left = {"rows": sum(map(len, tables))}
    for table in tables:
        kept_N = np.ones(len(table), bool)
        for name, holds_N in compile_selection(config, table.schema).conditions(table).items():
            kept_N &= holds_N
            left[name] = left.get(name, 0) + int(kept_N.sum())
    return left


def flags(values: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """bool per row; null is false."""
    filled: Any = pc.fill_null(values, pa.scalar(False))
    return filled.to_numpy(zero_copy_only=False)


def _condition(name: str, schema: pa.Schema, text: str | None) -> Expression | None:
    found = _compile(name, text, schema)
    if found is not None and not pa.types.is_boolean(found.dtype):
        raise ConfigError(f"plan.{name} is {text!r}, which gives {found.dtype}; true or false is allowed; compare")
    return found


def _compile(name: str, text: str | None, schema: pa.Schema) -> Expression | None:
    if text is None:
        return None
    try:
        return compile_expression(text, schema)
    except ConfigError as error:
        raise ConfigError(f"plan.{name} is {text!r}; {error}") from None
