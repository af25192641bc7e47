"""Compaction: shards that hold samples which are not published are written again without them.

The new shards are a new version with the same samples; nothing is removed. `collect` does that, once no version and no
recent writer needs the old shards.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from shards.errors import ConfigError, ContractError
from shards.faults import reached
from shards.format.commit import Commit, commit_shard
from shards.format.index import PLACE_COLUMNS, read_index
from shards.format.tar import parse_tar
from shards.format.writer import group_samples
from shards.ids import digest
from shards.reading.reader import open_dataset
from shards.schema import member_column, members_of, strings
from shards.storage.store import Store, open_store
from shards.versions.append import continued
from shards.versions.manifest import Manifest
from shards.versions.publish import Draft, publish_next


def partly_published(store: Store, manifest: Manifest) -> dict[str, int]:
    """Published samples of every shard that holds others too, by path of the tar; may be 0."""
    published = Counter(strings(open_dataset(store, manifest.version).rows, "shard"))
    sizes = {commit.shard.path: commit.num_samples for commit in manifest.shards}
    return {path: published[path] for path, size in sizes.items() if published[path] < size}


def compact(dataset: str | Path | Store, scratch: Path) -> Manifest:
    """Publish the newest version from shards that hold nothing else; unchanged if they do already.

    The same version gives the same bytes, whoever compacts it, and however often.

    Args:
        dataset: folder, uri or store of the dataset.
        scratch: existing folder for tars while they are built; best on the dataset's disk.

    Raises:
        ConfigError: nothing is published.
        ContractError: a shard is damaged.
    """
    store = open_store(dataset)

    def draft(newest: Manifest | None) -> Draft:
        if newest is None:
            raise ConfigError(f"dataset {store.uri} has no published version; publish one or name another folder")
        same = continued(store, newest)
        holding = partly_published(store, newest)
        kept = [commit for commit in newest.shards if commit.shard.path not in holding]
        old = [commit for commit in newest.shards if holding.get(commit.shard.path)]
        return replace(same, commits=[*kept, *rewrite(store, old, frozenset(same.keep_keys or ()), scratch)])

    return publish_next(store, draft)


def rewrite(store: Store, commits: Sequence[Commit], keep: frozenset[str], scratch: Path) -> list[Commit]:
    """Commit each shard again with only some of its samples, in their order; every one must keep one or more."""
    indexes = [read_index(store.get(commit.index.path)) for commit in commits]
    tables = [_only(index, keep) for index in indexes]
    identity = [
        [commit.shard.sha256, commit.index.sha256, strings(table, "key")]
        for commit, table in zip(commits, tables, strict=True)
    ]
    plan_id = digest(["compact", 1, identity])
    written = []
    for number, (commit, table) in enumerate(zip(commits, tables, strict=True)):
        members = members_in(store, commit, table)
        reached("compact-read")
        written.append(commit_shard(store, plan_id, number, commit.bucket, rows_of(table), members, scratch))
        reached("compact-shard")
    return written


def rows_of(index: pa.Table) -> pa.Table:
    """Rows as `commit_shard` takes them, from rows of an index: without their places in the old shard."""
    return index.drop_columns([name for name in index.column_names if name in PLACE_COLUMNS])


def members_in(store: Store, commit: Commit, index: pa.Table) -> list[Mapping[str, Any]]:
    """Members of the samples of these rows, as `commit_shard` takes them, proved against the index.

    Raises:
        ContractError: the tar is damaged.
    """
    tar = memoryview(store.get(commit.shard.path))
    records_of = dict(group_samples(tar, parse_tar(tar)))
    members = []
    for row in index.to_pylist():
        records = records_of.get(row["key"], {})
        expected = {suffix: row[member_column(suffix, "xxh3")] for suffix in members_of(row)}
        if {suffix: record.xxh3 for suffix, record in records.items()} != expected:
            raise ContractError(
                f"{commit.shard.path} has not the {row['key']} of its index; restore the shard; see shards verify"
            )
        members.append({s: bytes(tar[part.offset : part.offset + part.size]) for s, part in records.items()})
    return members


def _only(index: pa.Table, keep: frozenset[str]) -> pa.Table:
    return index.filter(pc.is_in(index.column("key"), value_set=pa.array(sorted(keep), pa.string())))
