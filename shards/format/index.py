"""The index of a shard: one Parquet row per sample, in tar order, with everything a reader or a query needs.

Columns are those of SAMPLE except `split` (a decision of the published version, not of the shard), then the score
columns in the order in which curation made them, each with its unit and meaning in the schema's metadata.
"""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from shards.errors import ContractError
from shards.format.tar import SUFFIXES
from shards.format.writer import MemberRecord
from shards.schema import SAMPLE, column, member_column, member_columns, sample_schema

VERSION_COLUMNS = ("split",)
PLACE_COLUMNS = ("shard", "bucket", *(field.name for suffix in SUFFIXES for field in member_columns(suffix)))
# What the packer knows of a sample, whatever members it has.
ROW = pa.schema([field for field in SAMPLE if field.name not in (*PLACE_COLUMNS, *VERSION_COLUMNS)])


def index_schema(members: Sequence[str]) -> pa.Schema:
    """Columns of the index of shards whose samples have these members, without scores."""
    return pa.schema([field for field in sample_schema(members) if field.name not in VERSION_COLUMNS])


def check_rows(rows: pa.Table) -> pa.Table:
    """Rows of ROW and score columns, in the order of the contract.

    Raises:
        ContractError: a column is missing or has another type, a place is there already, or a key is null or double.
    """
    taken = [name for name in (*PLACE_COLUMNS, *VERSION_COLUMNS) if name in rows.column_names]
    if taken:
        raise ContractError(f"rows have columns {taken}; writing the shard makes them; drop them before")
    wrong = [field.name for field in ROW if not _has(rows.schema, field)]
    if wrong:
        raise ContractError(f"rows lack columns {wrong} of the declared type; ROW has all of them; fix the packer")
    keys = rows.column("key").to_pylist()
    if None in keys or len(set(keys)) != len(keys):
        raise ContractError(f"{len(keys)} rows have {len(set(keys) - {None})} keys; one each is needed; fix the packer")
    scores = [name for name in rows.column_names if name not in ROW.names]
    return rows.select([*ROW.names, *scores])


def index_table(
    rows: pa.Table, shard: str, bucket: str, samples: Sequence[tuple[str, Mapping[str, MemberRecord]]]
) -> pa.Table:
    """Checked rows plus their places in the shard."""
    places: dict[str, list[Any]] = {"shard": [shard] * len(samples), "bucket": [bucket] * len(samples)}
    index = index_schema(tuple(samples[0][1]))
    for suffix in samples[0][1]:
        for part, value in asdict(samples[0][1][suffix]).items():
            if value is not None:
                places[member_column(suffix, part)] = [getattr(records[suffix], part) for _, records in samples]
    for name, values in places.items():
        field = index.field(name)
        rows = rows.append_column(field, pa.array(values, type=field.type))
    scores = [rows.schema.field(name) for name in rows.column_names if name not in index.names]
    schema = pa.schema([*index, *(_documented(field) for field in scores)])
    return rows.select(schema.names).cast(schema)


def index_bytes(table: pa.Table) -> bytes:
    """The index as Parquet."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def read_index(data: bytes, columns: Sequence[str] | None = None) -> pa.Table:
    """The index from Parquet.

    Raises:
        ContractError: the bytes are no Parquet file.
    """
    try:
        return pq.read_table(io.BytesIO(data), columns=None if columns is None else list(columns))
    except (pa.ArrowException, OSError) as error:
        raise ContractError(f"index is no readable Parquet; {error}; restore or rebuild it") from error


def sample_json(row: Mapping[str, Any]) -> bytes:
    """The .json member: all values of a row but places and vectors, in canonical form.

    Raises:
        ContractError: a value is NaN or infinite.
    """
    values = {name: value for name, value in row.items() if name == "frame_pts" or not isinstance(value, list | bytes)}
    try:
        return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    except ValueError as error:
        raise ContractError(
            f"sample {row['key']} has a value that is not finite; null is allowed; fix the stage"
        ) from error


def sample_text(row: Mapping[str, Any]) -> bytes:
    """The .txt member: the caption; empty where there is none, so that every sample has the same suffixes."""
    return (row["caption"] or "").encode()


def _has(schema: pa.Schema, wanted: pa.Field) -> bool:
    return wanted.name in schema.names and schema.field(wanted.name).type == wanted.type


def _documented(field: pa.Field) -> pa.Field:
    metadata = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
    return column(field.name, field.type, metadata.get("unit", ""), metadata.get("doc", ""))
