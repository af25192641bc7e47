"""Scores that were never computed because a rule of an earlier step drops the clip: which, and which rows pass a gate.

They are no failures: the column is null, its name stands in `not_scored`, and `error` says nothing of it.
"""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from curate.decision.rules import Rule
from shards.schema import SEGMENT_CLIP

pc: Any = pyarrow.compute  # its stubs refuse the plain values that the functions take


def lacks(clips: pa.Table, columns: Collection[str]) -> np.ndarray:
    """bool per row: one of the columns was not computed, because the clip was dropped before its turn."""
    if "not_scored" not in clips.column_names:  # a catalog of a version that scored everything
        return np.zeros(len(clips), bool)
    cells = clips["not_scored"]
    hit = [cell for cell in pc.unique(cells).to_pylist() if cell and not set(columns).isdisjoint(cell.split(";"))]
    return pc.is_in(cells, value_set=pa.array(hit, pa.string())).to_numpy()


def passes(clips: pa.Table, rules: Sequence[Rule]) -> np.ndarray:
    """bool per row: a clip that every rule answers with true, so that it can still be kept."""
    still_N = pc.equal(clips["segment"], SEGMENT_CLIP).to_numpy()
    for rule in rules:
        answer = pc.fill_null(rule.evaluate(clips), False)
        still_N = still_N & answer.to_numpy(zero_copy_only=False) & ~lacks(clips, rule.columns)
    return still_N


def columns_not_scored(clips: pa.Table) -> list[str]:
    """Names of all columns that some row lacks, in order of appearance."""
    cells = pc.unique(clips["not_scored"]).to_pylist() if "not_scored" in clips.column_names else []
    return list(dict.fromkeys(name for cell in cells if cell for name in cell.split(";")))
