"""Histograms as numbers for the template: bins of a score, kept and rejected stacked, and where the rules cut."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.decision.rules import Rule
from curate.decision.thresholds import thresholds as rule_thresholds
from curate.report.data import kept_mask, score_fields
from shards.errors import ConfigError

NUM_BINS = 32
MAX_CATEGORIES = 8
FAR = 2.0  # whole range over the range of the middle 99 %: beyond it, the ends are cut off
LOG_SPREAD = 30.0  # 95th percentile over median: beyond it, a linear axis shows one bar


@dataclass(frozen=True)
class Threshold:
    """A number that a rule compares a column with."""

    rule: str
    column: str
    value: float


@dataclass(frozen=True)
class Bar:
    """One bar, all in percent of the plot: the rejected part stands on the kept part."""

    x: float
    width: float
    kept: float
    rejected: float
    label: str


@dataclass(frozen=True)
class Histogram:
    """One score column over all candidate clips.

    Attributes:
        lines: (x in percent, rule, value) of each threshold; x is clamped to the plot.
        ticks: values at the left end, middle and right end of the axis.
        num_beyond: values outside the axis; the end bars count them.
        constant: the only value, if there is but one and no rule compares it; else None.
    """

    column: str
    unit: str
    doc: str
    bars: list[Bar]
    lines: list[tuple[float, str, float]]
    ticks: tuple[object, object, object]
    is_log: bool
    num_values: int
    num_nulls: int
    num_beyond: int
    constant: float | None


@dataclass(frozen=True)
class Categories:
    """One column of few values: how many clips of each were kept and rejected."""

    column: str
    doc: str
    rows: list[tuple[str, int, int]]
    num_nulls: int


def thresholds(rules: Mapping[str, str]) -> list[Threshold]:
    """Every plain comparison of a column with a number in the rules; a rule this cannot read has none."""
    found = []
    for name, text in rules.items():
        try:
            compared = rule_thresholds(Rule(name, text, ()))
        except ConfigError:
            continue  # the report draws lines where it can; the rule was compiled elsewhere
        found += [Threshold(name, item.quantity, item.value) for item in compared if item.quantity in item.columns]
    return found


@dataclass(frozen=True)
class Charts:
    """Pictures of all score columns.

    Attributes:
        histograms: of number columns.
        categories: of flags and of texts that repeat.
        constants: number columns without a threshold and with a single value, and that value.
    """

    histograms: list[Histogram]
    categories: list[Categories]
    constants: list[tuple[str, float]]


def charts(clips: pa.Table, rules: Mapping[str, str]) -> Charts:
    """A picture of every score column that has one: numbers as histograms, flags and short lists as counts."""
    cuts, kept = thresholds(rules), kept_mask(clips)
    found = Charts([], [], [])
    for field in score_fields(clips):
        if pa.types.is_integer(field.type) or pa.types.is_floating(field.type):
            if (chart := histogram(field, clips[field.name], kept, cuts)) is not None:
                if chart.constant is None:
                    found.histograms.append(chart)
                else:
                    found.constants.append((field.name, chart.constant))
        elif (pa.types.is_boolean(field.type) or pa.types.is_string(field.type)) and (
            chart := category_counts(field, clips[field.name], kept)
        ) is not None:
            found.categories.append(chart)
    return found


def histogram(
    field: pa.Field, column: pa.ChunkedArray, kept: np.ndarray, cuts: Iterable[Threshold]
) -> Histogram | None:
    """Bins of one column; None if it has no finite value."""
    values = pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False)
    finite = np.isfinite(values)
    if not finite.any():
        return None
    mine = [cut for cut in cuts if cut.column == field.name]
    edges, is_log = _edges(values[finite], [cut.value for cut in mine])
    inside = np.clip(values, edges[0], edges[-1])
    counts = [np.histogram(inside[finite & mask], edges)[0] for mask in (kept, ~kept)]
    return Histogram(
        column=field.name,
        unit=_metadata(field, "unit"),
        doc=_metadata(field, "doc"),
        bars=_bars(edges, *counts),
        lines=[(_position(cut.value, edges, is_log), cut.rule, cut.value) for cut in mine],
        ticks=(float(edges[0]), float(edges[len(edges) // 2]), float(edges[-1])),
        is_log=is_log,
        num_values=int(finite.sum()),
        num_nulls=int((~finite).sum()),
        num_beyond=int(((values < edges[0]) | (values > edges[-1]))[finite].sum()),
        constant=float(values[finite][0]) if np.ptp(values[finite]) == 0 and not mine else None,
    )


def category_counts(field: pa.Field, column: pa.ChunkedArray, kept: np.ndarray) -> Categories | None:
    """Counts per value of a column; None if it has none, more than `MAX_CATEGORIES`, or texts that never repeat."""
    present = pc.drop_null(pc.unique(column))
    if not 0 < len(present) <= MAX_CATEGORIES:
        return None
    if pa.types.is_string(field.type) and len(present) == len(column) - column.null_count:
        return None  # hashes, captions: a bar for each clip says nothing
    texts = pc.cast(column, pa.string()).to_numpy(zero_copy_only=False)
    rows = []
    for value in sorted(str(item) for item in pc.cast(present, pa.string()).to_pylist()):
        chosen = texts == value
        rows.append((value, int((chosen & kept).sum()), int((chosen & ~kept).sum())))
    return Categories(field.name, _metadata(field, "doc"), rows, column.null_count)


def _edges(values: np.ndarray, cuts: list[float]) -> tuple[np.ndarray, bool]:
    """Bin edges that show the bulk and every threshold; the few far values are counted into the end bins."""
    low, bulk_low, median, bulk_high, high = np.quantile(values, [0, 0.005, 0.5, 0.995, 1])
    if high - low > FAR * (bulk_high - bulk_low) > 0:
        low, high = bulk_low, bulk_high
    low, high = min([low, *cuts]), max([high, *cuts])
    positive = values.min() > 0 and all(cut > 0 for cut in cuts)
    if positive and np.quantile(values, 0.95) > LOG_SPREAD * median and low < high:
        return np.geomspace(low, high, NUM_BINS + 1), True
    if low == high:
        margin = max(abs(low) * 0.05, 0.5)
        low, high = low - margin, high + margin
    return np.linspace(low, high, NUM_BINS + 1), False


def _bars(edges: np.ndarray, kept: np.ndarray, rejected: np.ndarray) -> list[Bar]:
    top, width = max(int((kept + rejected).max()), 1), 100 / len(kept)
    return [
        Bar(index * width, width, 100 * k / top, 100 * r / top, f"{low:.4g} to {high:.4g}: {k} kept, {r} not")
        for index, (low, high, k, r) in enumerate(zip(edges[:-1], edges[1:], kept, rejected, strict=True))
        if k or r
    ]


def _position(value: float, edges: np.ndarray, is_log: bool) -> float:
    low, high = (np.log(edges[[0, -1]]) if is_log else edges[[0, -1]]).tolist()
    place = np.log(value) if is_log else value
    return float(np.clip(100 * (place - low) / (high - low), 0, 100))


def _metadata(field: pa.Field, key: str) -> str:
    return (field.metadata or {}).get(key.encode(), b"").decode()
