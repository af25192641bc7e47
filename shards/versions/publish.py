"""Publishing: commit records become the next version of the dataset.

The order is plan index, manifest, card, LATEST. The manifest is the commit point: it is created once, so of two
publishers of the same number one wins and the other tries the next number. The plan index is named by its content, so
that a publisher killed before its manifest leaves nothing that another could take for its own.
"""

import logging
import math
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from shards.errors import ContractError
from shards.faults import reached
from shards.format.commit import Commit
from shards.schema import members_of, sample_schema
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
from shards.versions.plan_index import ID, write_plan_index
from shards.versions.splits import SPLITS, SplitConfig
from shards.versions.tombstones import Withdrawal

log = logging.getLogger(__name__)


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
    """The manifest of a draft as version 1, without a parent; its plan index is in the store.

    Rows pass through files of the system's folder for temporary ones (TMPDIR), at most two plan indexes large.
    """
    commits = sorted(draft.commits, key=lambda commit: commit.shard.path)
    if not commits:
        raise ContractError(
            f"dataset {store.uri} has no commits to publish; at least one shard is needed; run curation"
        )
    objects = [file.path for commit in commits for file in (commit.shard, commit.index)]
    refresh(store, objects)
    keep = draft.keep_keys
    if keep is not None and not isinstance(keep, pa.Array):
        keep = pa.array(sorted(keep), pa.string())
    with tempfile.TemporaryDirectory(prefix="reelmill-publish-") as folder:
        plan = write_plan_index(store, commits, keep, draft.withdrawn, draft.splits, Path(folder))
        create_or_same(store, plan.file.path, plan.path)
        manifest = _manifest(commits, plan.table, plan.file, draft)
    refresh(store, [*objects, plan.file.path])  # none may have gone meanwhile, and none may go before the manifest
    reached("publish-plan")
    return manifest


def _manifest(commits: Sequence[Commit], table: pa.Table, plan_index: PlanIndexFile, draft: Draft) -> Manifest:
    sizes = table.select(["split", "video_id", "duration_s"])
    licences = pc.unique(table.column("licence")).drop_null().to_pylist()
    return Manifest(
        version=1,
        parent=None,
        shards=tuple(commits),
        plan_index=plan_index,
        columns=column_info(table.schema),
        split_config=draft.splits,
        splits={name: _split_stats(sizes.filter(pc.equal(sizes.column("split"), pa.scalar(name)))) for name in SPLITS},
        stats=_stats(commits, table),
        licences=tuple(sorted(map(str, licences))),
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
