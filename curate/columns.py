"""Tables with other values in a column."""

from collections.abc import Iterable
from typing import Any

import pyarrow as pa


def with_column(table: pa.Table, name: str, values: Any) -> pa.Table:
    """The table with other values in a column, at its place and of its type."""
    index = table.column_names.index(name)
    return table.set_column(index, table.schema.field(index), values)


def with_columns(table: pa.Table, columns: Iterable[tuple[str, Any]]) -> pa.Table:
    """As `with_column`, of several."""
    for name, values in columns:
        table = with_column(table, name, values)
    return table


def words_of(cell: str | None) -> list[str]:
    """The parts of a cell that `;` joins."""
    return [part for part in (cell or "").split(";") if part]


def joined(words: Iterable[str]) -> str | None:
    """A cell of these parts, each once; null if there are none."""
    return ";".join(dict.fromkeys(words)) or None
