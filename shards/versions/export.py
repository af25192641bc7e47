"""Exporting: one version as a dataset of its own whose tars hold one split each and nothing that is not published.

That is the layout which Hugging Face's `load_dataset` opens by the card; it is also a whole dataset of the contract,
with indexes, records and a manifest, so that `open_dataset` and `verify` take it as any other.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from shards.errors import ConfigError, ContractError
from shards.faults import reached
from shards.format.commit import PLAN_DIGITS, Commit, commit_shard
from shards.format.index import read_index
from shards.ids import digest
from shards.reading.reader import ShardDataset, open_dataset
from shards.storage.store import Store, create_or_same, open_store
from shards.versions.append import continued
from shards.versions.card import dataset_card
from shards.versions.compact import rows_of
from shards.versions.diff import compare
from shards.versions.manifest import LATEST, README, Manifest, Parent, manifest_path, versions
from shards.versions.publish import Draft, build
from shards.versions.splits import SPLITS

HUB_SPLITS = {"train": "train", "val": "validation", "test": "test"}
SHARD_BYTES = 256 << 20


def export(
    dataset: str | Path | Store,
    out: str | Path | Store,
    scratch: Path,
    version: int | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> Manifest:
    """Write a version by split; the same version exported again, or continued after a kill, gives the same bytes.

    Args:
        dataset: folder, uri or store of the dataset.
        out: where the export goes: nothing, or an earlier attempt at the same export.
        scratch: existing folder for tars while they are built; best on the disk of `out`.
        version: number of the version; None for the newest.
        shard_bytes: a tar is closed before it would grow beyond this, B.

    Returns:
        The manifest of the export: its number is that of the version, its parent the version itself.

    Raises:
        ConfigError: no such version, or `out` holds another export.
        ContractError: data is damaged.
    """
    source, target = open_dataset(dataset, version), open_store(out)
    _check_target(target, source)
    plan_id = digest(["export", 1, source.manifest_sha256, shard_bytes])
    commits = []
    for number, ids in enumerate(groups(source.rows, shard_bytes)):
        commits.append(_commit(source, target, plan_id, number, ids, scratch))
        reached("export-shard")
    same = continued(source.store, source.manifest)
    built = build(target, Draft(commits, same.config, same.splits, None, same.withdrawn))
    reached("export-plan")
    parent = Parent(version=source.manifest.version, sha256=source.manifest_sha256)
    manifest = built.model_copy(update={"version": source.manifest.version, "parent": parent})
    create_or_same(target, manifest_path(manifest.version), manifest.to_bytes())
    reached("export-manifest")
    target.replace(README, dataset_card(manifest, data_files(manifest)).encode())
    reached("export-card")
    target.replace(LATEST, f"v{manifest.version:06d} {manifest.sha256()}\n".encode())
    reached("export-latest")
    if not compare(source.manifest, source.rows, manifest, open_dataset(target, manifest.version).rows).same_samples:
        raise ContractError(f"export {target.uri} has other samples than {source.store.uri}; remove it and rerun")
    return manifest


def data_files(manifest: Manifest) -> dict[str, str]:
    """For each split of an export, by Hugging Face's name, the pattern of its tars."""
    digits = manifest.shards[0].plan_id[:PLAN_DIGITS]
    return {
        HUB_SPLITS[split]: f"shards/{split}/{digits}-*.tar" for split in SPLITS if manifest.splits[split].num_samples
    }


def groups(rows: pa.Table, shard_bytes: int) -> Iterator[list[int]]:
    """Ids of a plan index, cut into tars: by split, bucket, and size; in the order of the plan index within."""
    members = [name.removesuffix("_offset") for name in rows.column_names if name.endswith("_offset")]
    bytes_N = np.stack([rows.column(f"{member}_size").to_numpy() for member in members]).sum(axis=0)
    places = zip(rows.column("split").to_pylist(), rows.column("bucket").to_pylist(), range(len(rows)), strict=True)
    group: list[int] = []
    total, last = 0, None
    for split, bucket, number in sorted(places, key=lambda place: (SPLITS.index(str(place[0])), *place[1:])):
        size = int(bytes_N[number])
        if group and ((split, bucket) != last or total + size > shard_bytes):
            yield group
            group, total = [], 0
        group.append(number)
        total, last = total + size, (split, bucket)
    yield group


def _commit(source: ShardDataset, target: Store, plan_id: str, number: int, ids: list[int], scratch: Path) -> Commit:
    published = source.rows.take(ids).select(["key", "shard", "split", "bucket"]).to_pylist()
    members = [source.read(sample_id) for sample_id in ids]
    rows = rows_of(_index_rows(source, published))
    bucket, split = published[0]["bucket"], published[0]["split"]
    return commit_shard(target, plan_id, number, bucket, rows, members, scratch, folder=split)


def _index_rows(source: ShardDataset, published: list[dict[str, Any]]) -> pa.Table:
    """Rows of the shards' own indexes, with what the plan index leaves out, in the order asked for."""
    path_of = {commit.shard.path: commit.index.path for commit in source.manifest.shards}
    paths = [path_of[shard] for shard in dict.fromkeys(row["shard"] for row in published)]
    index = pa.concat_tables(read_index(source.store.get(path)) for path in paths)
    row_of = {key: row for row, key in enumerate(index.column("key").to_pylist())}
    return index.take([row_of[row["key"]] for row in published])


def _check_target(target: Store, source: ShardDataset) -> None:
    """Nothing of another dataset or version may be mixed in."""
    number = source.manifest.version
    if versions(target) not in ([], [number]) or target.uri == source.store.uri:
        raise ConfigError(
            f"export goes to {target.uri}, which has versions {versions(target)}; an empty folder, or an earlier "
            f"attempt at version {number}, is allowed; name another folder"
        )
