"""Tombstones: what was withdrawn from a dataset, carried from version to version until it is lifted."""

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from shards.format.commit import Record

DATE = re.compile(r"^\d{4}-\d{2}-\d{2}$")


class Withdrawal(Record):
    """One decision to withdraw samples: none of them is in this version or any that follows."""

    reason: str = Field(min_length=1, description="Why, for people.")
    by: str | None = Field(default=None, description="Who decided, if stated.")
    date: str | None = Field(default=None, pattern=DATE.pattern, description="When, if stated: YYYY-MM-DD.")
    sources: tuple[str, ...] = Field(default=(), description="video_ids, sorted: all samples of them, later ones too.")
    keys: tuple[str, ...] = Field(default=(), description="Keys of samples, sorted.")


def is_withdrawn(table: pa.Table, withdrawals: Sequence[Withdrawal]) -> Any:  # the stubs know no common type
    """For each row of an index whether it is withdrawn: an Arrow array of bool (N,)."""
    sources, keys = withdrawn_ids(withdrawals)
    return pc.or_(_is_in(table.column("video_id"), sources), _is_in(table.column("key"), keys))


def lifted(
    withdrawals: Iterable[Withdrawal], sources: Collection[str], keys: Collection[str]
) -> tuple[Withdrawal, ...]:
    """The withdrawals without these sources and keys; what then names nothing is gone."""
    rest = (
        item.model_copy(
            update={
                "sources": tuple(source for source in item.sources if source not in sources),
                "keys": tuple(key for key in item.keys if key not in keys),
            }
        )
        for item in withdrawals
    )
    return tuple(item for item in rest if item.sources or item.keys)


def withdrawn_ids(withdrawals: Sequence[Withdrawal]) -> tuple[set[str], set[str]]:
    """All sources and all keys that are withdrawn."""
    sources = {source for item in withdrawals for source in item.sources}
    return sources, {key for item in withdrawals for key in item.keys}


def _is_in(column: pa.ChunkedArray, values: set[str]) -> Any:
    return pc.is_in(column, value_set=pa.array(sorted(values), pa.string()))
