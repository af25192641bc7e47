"""The plan index of a version, from the indexes of its shards: written without holding all rows in memory.

Indexes are read once, one after another, and what is published of them goes into a file of the scratch folder. The
plan index is one record batch, so that readers map it and copy nothing: each of its columns is put together alone,
large ones in a file of their own, and only mapped from there on. What is held is a column, not the table.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from shards.errors import ContractError
from shards.format.commit import Commit
from shards.format.index import index_schema, read_index
from shards.schema import SAMPLE, column, members_of, sample_schema, strings
from shards.storage.store import Store, local_writing
from shards.versions.manifest import PlanIndexFile
from shards.versions.splits import SplitConfig, assign_splits
from shards.versions.tombstones import Withdrawal, is_withdrawn

ID = column("id", pa.int64(), "", "Number of the sample in this version, from 0.")
_SPLIT = SAMPLE.field("split")
_SPILL_BYTES = 32 << 20  # larger columns are put together in a file
_PIECE_BYTES = 8 << 20


@dataclass(frozen=True)
class PlanIndex:
    """A plan index that is written.

    Attributes:
        file: what a manifest says of it.
        path: where it lies on the local disk.
        table: its rows, mapped.
    """

    file: PlanIndexFile
    path: Path
    table: pa.Table


def write_plan_index(
    store: Store,
    commits: Sequence[Commit],
    keep: pa.Array | None,
    withdrawn: Sequence[Withdrawal],
    splits: SplitConfig,
    scratch: Path,
) -> PlanIndex:
    """The plan index of these shards, in a folder for scratch.

    Args:
        store: of the dataset.
        commits: sorted by path of the tar.
        keep: keys of the samples to publish; None for all.
        withdrawn: what must not be published whatever the rest says.
        splits: how samples are divided.
        scratch: existing folder with room for two plan indexes.

    Raises:
        ContractError: no sample is left, a key is there twice, indexes have different columns, or one is not what its
            commit says.
    """
    rows = _gathered(published_rows(store, commits, keep, withdrawn), scratch / "rows.arrow")
    num_keys = pc.count_distinct(rows.column("key")).as_py()
    if not len(rows):
        raise ContractError(
            f"version of {store.uri} has 0 samples; an empty version is not published; "
            f"loosen the rules or withdraw less"
        )
    if num_keys != len(rows):
        raise ContractError(f"{len(rows)} samples have {num_keys} keys; a key is published once; name fewer commits")
    return write_rows(rows, sides(rows, splits), scratch)


def write_rows(rows: pa.Table, split: pa.Array, scratch: Path) -> PlanIndex:
    """The plan index of rows that have their places already, with ids from 0.

    Args:
        rows: of shard indexes, in order.
        split: of each row.
        scratch: existing folder with room for two plan indexes.
    """
    made = {ID.name: (ID, pa.array(np.arange(len(rows)))), _SPLIT.name: (_SPLIT, split)}
    known = [name for name in sample_schema(members_of(rows.column_names)).names if name in {*rows.column_names, *made}]
    order = [ID.name, *known, *(name for name in rows.column_names if name not in known)]
    fields = [made[name][0] if name in made else rows.schema.field(name) for name in order]
    arrays = [
        made[name][1] if name in made else _combined(rows.column(name), scratch / f"{number}.arrow")
        for number, name in enumerate(order)
    ]
    return _written(pa.record_batch(arrays, schema=pa.schema(fields)), scratch / "plan.arrow")


def published_rows(
    store: Store, commits: Sequence[Commit], keep: pa.Array | None, withdrawn: Sequence[Withdrawal]
) -> Iterator[pa.Table]:
    """For every shard the rows of its index that are published, without vectors.

    Raises:
        ContractError: indexes have different columns, or one is not what its commit says.
    """
    first: pa.Schema | None = None
    for commit in commits:
        index = _checked_index(store, commit)
        first = first or index.schema
        if not index.schema.equals(first):
            raise ContractError(
                f"{commit.index.path} has columns {index.column_names}, {commits[0].index.path} has {first.names}; "
                f"all shards of a version have the same; backfill the missing scores"
            )
        known = sample_schema(members_of(first.names)).names
        index = index.select([f.name for f in first if f.name in known or not pa.types.is_nested(f.type)])
        if keep is not None:
            index = index.filter(pc.is_in(index.column("key"), value_set=keep))
        if withdrawn:
            index = index.filter(pc.invert(is_withdrawn(index, withdrawn)))
        yield index


def sides(index: pa.Table, config: SplitConfig) -> pa.Array:
    """The split of every row, decided by its source: of duplicate groups only those of several sources join any."""
    sources = pc.unique(index.column("video_id"))
    pairs = index.select(["video_id", "dup_group"]).group_by(["video_id", "dup_group"]).aggregate([])
    sizes = pairs.group_by("dup_group").aggregate([("video_id", "count")])
    shared = sizes.filter(sizes["video_id_count"].to_numpy() > 1)["dup_group"].drop_null()
    pairs = pairs.filter(pc.is_in(pairs["dup_group"], value_set=shared.combine_chunks()))
    ids = [*sources.to_pylist(), *strings(pairs, "video_id")]
    groups = [*([None] * len(sources)), *strings(pairs, "dup_group")]
    found = pa.array(assign_splits(ids, groups, config)[: len(sources)], pa.string())
    return found.take(pc.index_in(index.column("video_id").combine_chunks(), value_set=sources))


def _checked_index(store: Store, commit: Commit) -> pa.Table:
    data = store.get(commit.index.path)
    if sha256(data).hexdigest() != commit.index.sha256:
        raise ContractError(
            f"{commit.index.path} has another sha256 than its commit says; restore it; see shards verify"
        )
    table = read_index(data)
    known = index_schema(members_of(table.column_names)).names
    if len(table) != commit.num_samples or table.column_names[: len(known)] != known:
        raise ContractError(
            f"{commit.index.path} has {len(table)} rows; {commit.num_samples} are committed; rebuild it"
        )
    return table


def _gathered(tables: Iterator[pa.Table], path: Path) -> pa.Table:
    """All rows, in a file that is mapped: nothing of them is held."""
    first = next(tables)
    with local_writing(path), pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, first.schema) as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def _combined(values: pa.ChunkedArray, path: Path) -> pa.Array:
    """A column in one piece, mapped if it is large."""
    combined = values.combine_chunks()
    if combined.nbytes < _SPILL_BYTES:
        return combined
    batch = pa.record_batch([combined], ["values"])
    with local_writing(path), pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0).column(0)


def _written(batch: pa.RecordBatch, path: Path) -> PlanIndex:
    """One record batch, uncompressed, so that a reader maps it and copies nothing."""
    with local_writing(path), pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    whole, quick = sha256(), xxhash.xxh3_64()
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            whole.update(piece)
            quick.update(piece)
    digest = whole.hexdigest()
    file = PlanIndexFile(
        path=f"manifests/{digest[:16]}.plan.arrow",
        size_bytes=path.stat().st_size,
        sha256=digest,
        xxh3=quick.hexdigest(),
        num_samples=batch.num_rows,
    )
    return PlanIndex(file, path, pa.ipc.open_file(pa.memory_map(str(path))).read_all())
