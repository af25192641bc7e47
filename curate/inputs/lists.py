"""Lists of inputs (CSV, Parquet, JSONL): uri, caption, licence, and all further columns as provenance."""

import csv
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curate.inputs.uris import is_remote, local_path
from shards.errors import ConfigError


@dataclass(frozen=True)
class ListColumns:
    """What a list calls the columns that are not provenance."""

    uri: str
    caption: str
    licence: str


@dataclass(frozen=True)
class ListEntry:
    """One line of a list.

    Attributes:
        uri: remote, or an absolute path.
        caption, licence: None if absent or empty.
        provenance: JSON object of all other columns; None if there are none.
    """

    uri: str
    caption: str | None
    licence: str | None
    provenance: str | None


def read_list(path: Path, columns: ListColumns) -> Iterator[ListEntry]:
    """The entries of a list, in order.

    Raises:
        ConfigError: the file cannot be parsed, or a line has no uri.
    """
    reader = {".csv": _csv_rows, ".parquet": _parquet_rows, ".jsonl": _jsonl_rows}[path.suffix.lower()]
    try:
        for number, row in enumerate(reader(path), start=1):
            yield _entry(path, number, row, columns)
    except (OSError, ValueError, csv.Error, pa.ArrowException) as error:
        raise ConfigError(f"list {path} cannot be read; {' '.join(str(error).split())}; correct it") from error


def _entry(path: Path, number: int, row: Mapping[str, Any], columns: ListColumns) -> ListEntry:
    uri = row.get(columns.uri)
    if not isinstance(uri, str) or not uri:
        told = f"list {path} has no {columns.uri!r} in row {number}, which has {sorted(map(str, row))}"
        raise ConfigError(f"{told}; each row needs one; set ingest.uri_column to the column's name")
    known = (columns.uri, columns.caption, columns.licence)
    rest = {str(key): _plain(value) for key, value in row.items() if key not in known and value is not None}
    provenance = json.dumps(rest, sort_keys=True, ensure_ascii=True) if rest else None
    name = uri if is_remote(uri) else str(path.absolute().parent / local_path(uri))
    return ListEntry(name, _words(row.get(columns.caption)), _words(row.get(columns.licence)), provenance)


def _csv_rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        yield from csv.DictReader(file, restkey="further_cells")


def _jsonl_rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8-sig") as file:
        for line in file:
            if line.strip():
                row = json.loads(line)
                yield row if isinstance(row, dict) else {}


def _parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches():
            yield from batch.to_pylist()


def _words(value: object) -> str | None:
    return str(value).encode("utf-8", "replace").decode().strip() or None if value is not None else None


def _plain(value: Any) -> Any:
    """The value as JSON holds it: dates as ISO text, what JSON lacks as text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, date | time):
        return value.isoformat()
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return str(value)
