"""Publishing: commit records become the next version of the dataset.

The order is plan index, manifest, card, LATEST. The manifest is the commit point: it is created once, so of two
publishers of the same number one wins and the other tries the next number. The plan index is named by its content, so
that a publisher killed before its manifest leaves nothing that another could take for its own.
"""

import io
import logging
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from shards.errors import ContractError
from shards.faults import reached
from shards.format.commit import Commit
from shards.format.index import index_schema, read_index
from shards.schema import SAMPLE, column, members_of, sample_schema, strings
from shards.storage.store import Store, create_or_same, open_store
from shards.versions.card import dataset_card
from shards.versions.lifetime import refresh
from shards.versions.manifest import (
    LATEST,
    README,
    ColumnStats,
    Manifest,
    Parent,
    PlanIndexFile,
    SplitStats,
    Stats,
    column_info,
    manifest_path,
    read_manifest,
    versions,
)
from shards.versions.splits import SPLITS, SplitConfig, assign_splits
from shards.versions.tombstones import Withdrawal, is_withdrawn

log = logging.getLogger(__name__)
ID = column("id", pa.int64(), "", "Number of the sample in this version, from 0.")


@dataclass(frozen=True)
class Draft:
    """What a version is to hold.

    Attributes:
        commits: its shards.
        config: resolved configuration of the run.
        splits: how samples are divided.
        keep_keys: publish only these samples of the shards; None for all.
        withdrawn: what must not be published whatever the rest says.
    """

    commits: Sequence[Commit]
    config: Mapping[str, Any]
    splits: SplitConfig
    keep_keys: Collection[str] | pa.Array | None = None
    withdrawn: tuple[Withdrawal, ...] = ()


def publish(
    dataset: str | Path | Store,
    commits: Sequence[Commit],
    config: Mapping[str, Any],
    splits: SplitConfig,
    keep_keys: Collection[str] | pa.Array | None = None,
) -> Manifest:
    """Make commits the next version; the newest version is returned unchanged if it is the same.

    What was withdrawn from the newest version stays withdrawn.

    Args:
        dataset: folder, uri or store of the dataset.
        commits: the shards of the version.
        config: resolved configuration of the run, stored.
        splits: how samples are divided.
        keep_keys: publish only these samples of the shards; None for all.

    Raises:
        ContractError: nothing would be published, a key would be twice, indexes have different columns, or an object
            is not what its commit says.
    """
    return publish_next(
        open_store(dataset),
        lambda newest: Draft(commits, config, splits, keep_keys, newest.withdrawn if newest else ()),
    )


def publish_next(store: Store, draft_of: Callable[[Manifest | None], Draft]) -> Manifest:
    """Publish what is drafted on top of the newest version; it is drafted anew if another publisher was faster.

    Args:
        store: of the dataset.
        draft_of: from the newest manifest, None if there is none, to the next version.
    """
    lost = False  # a race for the number
    while True:
        published = versions(store)
        newest = read_manifest(store, published[-1]) if published else None
        draft = draft_of(newest)
        reached("publish-drafted")
        manifest = build(store, draft)
        if newest and newest.content() == manifest.content():
            manifest = newest
            break
        if lost and newest:
            log.warning("another publisher made version %d of %s; this is the next", newest.version, store.uri)
        parent = Parent(version=newest.version, sha256=newest.sha256()) if newest else None
        manifest = manifest.model_copy(update={"version": newest.version + 1 if newest else 1, "parent": parent})
        if store.create(manifest_path(manifest.version), manifest.to_bytes()):
            break
        lost = True
    reached("publish-manifest")
    store.replace(README, dataset_card(manifest).encode())
    reached("publish-card")
    store.replace(LATEST, f"v{manifest.version:06d} {manifest.sha256()}\n".encode())
    reached("publish-latest")
    return manifest


def build(store: Store, draft: Draft) -> Manifest:
    """The manifest of a draft as version 1, without a parent; its plan index is in the store."""
    commits = sorted(draft.commits, key=lambda commit: commit.shard.path)
    objects = [file.path for commit in commits for file in (commit.shard, commit.index)]
    refresh(store, objects)
    table = _plan_table(store, commits, draft)
    plan_bytes = _arrow_bytes(table)
    plan_index = PlanIndexFile(
        path=f"manifests/{sha256(plan_bytes).hexdigest()[:16]}.plan.arrow",
        size_bytes=len(plan_bytes),
        sha256=sha256(plan_bytes).hexdigest(),
        xxh3=xxhash.xxh3_64_hexdigest(plan_bytes),
        num_samples=len(table),
    )
    create_or_same(store, plan_index.path, plan_bytes)
    refresh(store, [*objects, plan_index.path])  # none may have gone meanwhile, and none may go before the manifest
    reached("publish-plan")
    return _manifest(commits, table, plan_index, draft)


def plan_index_table(index: pa.Table, splits: Sequence[str] | pa.Array) -> pa.Table:
    """Rows of a version from rows of its shards' indexes: ids first, the split in its place in SAMPLE, no vectors."""
    known = sample_schema(members_of(index.column_names)).names
    index = index.append_column(SAMPLE.field("split"), pa.array(splits, type=pa.string()))
    index = index.append_column(ID, pa.array(np.arange(len(index)), type=pa.int64()))
    scores = [f.name for f in index.schema if f.name not in (ID.name, *known) and not pa.types.is_nested(f.type)]
    return index.select([ID.name, *known, *scores]).combine_chunks()


def _plan_table(store: Store, commits: Sequence[Commit], draft: Draft) -> pa.Table:
    if not commits:
        raise ContractError(
            f"dataset {store.uri} has no commits to publish; at least one shard is needed; run curation"
        )
    index = pa.concat_tables(_same_columns(store, commits))
    if draft.keep_keys is not None:
        keep = draft.keep_keys
        keep = keep if isinstance(keep, pa.Array) else pa.array(sorted(keep), pa.string())
        index = index.filter(pc.is_in(index.column("key"), value_set=keep))
    if draft.withdrawn:
        index = index.filter(pc.invert(is_withdrawn(index, draft.withdrawn)))
    num_keys = pc.count_distinct(index.column("key")).as_py()
    if not len(index):
        raise ContractError(
            f"version of {store.uri} has 0 samples; an empty version is not published; "
            f"loosen the rules or withdraw less"
        )
    if num_keys != len(index):
        raise ContractError(f"{len(index)} samples have {num_keys} keys; a key is published once; name fewer commits")
    return plan_index_table(index, _sides(index, draft.splits))


def _sides(index: pa.Table, config: SplitConfig) -> pa.Array:
    """The split of every row, decided by its source: of duplicate groups only those of several sources join any."""
    sources = pc.unique(index.column("video_id"))
    pairs = index.select(["video_id", "dup_group"]).group_by(["video_id", "dup_group"]).aggregate([])
    sizes = pairs.group_by("dup_group").aggregate([("video_id", "count")])
    shared = sizes.filter(sizes["video_id_count"].to_numpy() > 1)["dup_group"].drop_null()
    pairs = pairs.filter(pc.is_in(pairs["dup_group"], value_set=shared.combine_chunks()))
    ids = [*sources.to_pylist(), *strings(pairs, "video_id")]
    groups = [*([None] * len(sources)), *strings(pairs, "dup_group")]
    sides = pa.array(assign_splits(ids, groups, config)[: len(sources)], pa.string())
    return sides.take(pc.index_in(index.column("video_id").combine_chunks(), value_set=sources))


def _same_columns(store: Store, commits: Sequence[Commit]) -> list[pa.Table]:
    tables = [_checked_index(store, commit) for commit in commits]
    for commit, table in zip(commits, tables, strict=True):
        if not table.schema.equals(tables[0].schema):
            raise ContractError(
                f"{commit.index.path} has columns {table.column_names}, {commits[0].index.path} has "
                f"{tables[0].column_names}; all shards of a version have the same; backfill the missing scores"
            )
    return tables


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


def _arrow_bytes(table: pa.Table) -> bytes:
    """One record batch, uncompressed, so that a reader maps it and copies nothing."""
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _manifest(commits: Sequence[Commit], table: pa.Table, plan_index: PlanIndexFile, draft: Draft) -> Manifest:
    return Manifest(
        version=1,
        parent=None,
        shards=tuple(commits),
        plan_index=plan_index,
        columns=column_info(table.schema),
        split_config=draft.splits,
        splits={name: _split_stats(table.filter(pc.equal(table.column("split"), pa.scalar(name)))) for name in SPLITS},
        stats=_stats(commits, table),
        licences=tuple(sorted({str(licence) for licence in table.column("licence").drop_null().to_pylist()})),
        withdrawn=draft.withdrawn,
        config=dict(draft.config),
    )


def _split_stats(table: pa.Table) -> SplitStats:
    return SplitStats(num_samples=len(table), num_sources=_num_sources(table), hours=_hours(table))


def _stats(commits: Sequence[Commit], table: pa.Table) -> Stats:
    known = (ID.name, *sample_schema(members_of(table.column_names)).names)
    scores = [field.name for field in table.schema if field.name not in known]
    numeric = [name for name in scores if _is_number(table.schema.field(name).type)]
    return Stats(
        num_samples=len(table),
        num_captions=len(table) - table.column("caption").null_count,
        num_sources=_num_sources(table),
        num_frames=int(table.column("num_frames").to_numpy().sum()),
        hours=_hours(table),
        size_bytes=sum(commit.shard.size_bytes for commit in commits),
        columns={name: _column_stats(table.column(name)) for name in numeric},
    )


def _column_stats(values: pa.ChunkedArray) -> ColumnStats:
    numbers = values.drop_null().cast(pa.float64(), safe=False).to_numpy().tolist()
    if not numbers:
        return ColumnStats(num_values=0, min=None, mean=None, max=None)
    mean = math.fsum(numbers) / len(numbers)
    return ColumnStats(num_values=len(numbers), min=min(numbers), mean=mean, max=max(numbers))


def _is_number(dtype: pa.DataType) -> bool:
    return pa.types.is_integer(dtype) or pa.types.is_floating(dtype) or pa.types.is_boolean(dtype)


def _num_sources(table: pa.Table) -> int:
    return len(table.column("video_id").unique())


def _hours(table: pa.Table) -> float:
    return math.fsum(table.column("duration_s").to_numpy().tolist()) / 3600
