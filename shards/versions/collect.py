"""Garbage collection: removes what no version names once it is old enough to be nobody's work in progress.

A manifest is removed before what it names and a commit record before its shard, so that wherever a collection is
interrupted, nothing that is left names something that is gone. Files that no dataset contains are never touched.
"""

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from shards.errors import ConfigError
from shards.faults import reached
from shards.format.commit import is_commit, parse_commit
from shards.reading.reader import open_dataset
from shards.storage.store import Store, open_store
from shards.versions.lifetime import remove_if_older, written_at_s
from shards.versions.manifest import Manifest, manifest_path, read_manifest, versions
from shards.versions.tombstones import is_withdrawn

_FOLDER = "[a-z0-9][a-z0-9_-]*"
# The kinds of objects, in the order in which they are removed.
KINDS = {
    "manifest": re.compile(r"manifests/v[0-9]{6,}\.json"),
    "commit": re.compile(r"commits/[0-9a-f]{8}/[0-9]{6,}\.json"),
    "plan_index": re.compile(r"manifests/[0-9a-f]{16}\.plan\.arrow"),
    "index": re.compile(rf"index/{_FOLDER}/[0-9a-f]{{8}}-[0-9]{{6,}}\.parquet"),
    "shard": re.compile(rf"shards/{_FOLDER}/[0-9a-f]{{8}}-[0-9]{{6,}}\.tar"),
    "temporary": re.compile(
        r"(?:|(?:manifests|commits|index|shards)/(?:[a-z0-9_-]+/)?)"
        r"\.[A-Za-z0-9][A-Za-z0-9._-]*\.[0-9a-f]{32}\.tmp"
    ),
}
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Garbage:
    """An object that may go.

    Attributes:
        kind: one of KINDS.
        path: of the object.
        size_bytes: of the object.
    """

    kind: str
    path: str
    size_bytes: int


@dataclass(frozen=True)
class Collection:
    """What a garbage collection found.

    Attributes:
        garbage: what goes, or went, in order of removal.
        too_young: objects that nothing names but that may be somebody's work in progress.
        withdrawn_in: kept versions that still publish samples which the newest one says are withdrawn.
    """

    garbage: list[Garbage]
    too_young: list[Garbage]
    withdrawn_in: list[int]


def collect(
    dataset: str | Path | Store,
    *,
    grace_s: float,
    keep_versions: int | None = None,
    delete: bool = False,
    now_s: float | None = None,
) -> Collection:
    """Find, and on request remove, what no kept version names.

    Safe beside writers and publishers that take less than the grace time from their first object to the manifest. A
    publisher of old shards on a disk makes them young first; on an object store, do not collect meanwhile.

    Args:
        dataset: folder, uri or store of the dataset.
        grace_s: younger objects stay.
        keep_versions: keep only so many of the newest versions; None keeps all.
        delete: remove; otherwise only say what would go.
        now_s: the time, seconds since 1970; by default the clock's.

    Raises:
        ConfigError: an argument makes no sense, or nothing is published.
        ContractError: a kept manifest or a commit record is damaged: nothing is removed.
        StoreError: storage failed.
    """
    if grace_s < 0 or (keep_versions is not None and keep_versions < 1):
        raise ConfigError(
            f"grace is {grace_s} s and versions to keep are {keep_versions}; at least 0 and 1 are allowed; raise them"
        )
    store = open_store(dataset)
    before_s = (time.time() if now_s is None else now_s) - grace_s
    written = written_at_s(store)
    sizes = {item.path: item.size_bytes for item in store.list()}
    kept = _kept(store, keep_versions, written, before_s)
    named = _named(kept) | _records_of(store, sizes, _named(kept))
    loose = [
        Garbage(kind, path, sizes[path])
        for kind, pattern in KINDS.items()
        for path in sorted(sizes)
        if path not in named and pattern.fullmatch(path)
    ]
    young_shards = _shards_of_young_records(store, loose, written, before_s)
    old = [item for item in loose if written.get(item.path, before_s) < before_s and item.path not in young_shards]
    if delete:
        old = [item for kind in KINDS for item in _remove(store, [i for i in old if i.kind == kind], kept, before_s)]
    gone = set(old)
    return Collection(old, [item for item in loose if item not in gone], _still_withdrawn(store, kept))


def parse_duration_s(text: str) -> float:
    """Seconds of `7d`, `12h`, `30m` or `45s`.

    Raises:
        ConfigError: the text is none of these.
    """
    found = re.fullmatch(r"([0-9]+)([smhd])", text)
    if not found:
        raise ConfigError(f"duration is {text!r}; a whole number of s, m, h or d is allowed; write 7d")
    return int(found.group(1)) * _UNITS_S[found.group(2)]


def _remove(store: Store, garbage: list[Garbage], kept: list[Manifest], before_s: float) -> list[Garbage]:
    """What could be removed: not what a version that was published meanwhile names, nor what became young."""
    new = [read_manifest(store, number) for number in versions(store) if number > kept[-1].version] if garbage else []
    spared = _named(new)
    removed = []
    for item in garbage:
        reached("gc-found")
        if item.path not in spared and remove_if_older(store, item.path, before_s):
            removed.append(item)
            reached("gc-removed")
    return removed


def _kept(store: Store, keep: int | None, written: Mapping[str, float], before_s: float) -> list[Manifest]:
    """Manifests that stay: the newest so many, and every one that is young."""
    numbers = versions(store)
    if not numbers:
        raise ConfigError(f"dataset {store.uri} has no published version; collecting would remove all; publish first")
    newest = numbers if keep is None else numbers[-keep:]
    young = [number for number in numbers if written.get(manifest_path(number), before_s) >= before_s]
    return [read_manifest(store, number) for number in sorted({*newest, *young})]


def _named(manifests: Iterable[Manifest]) -> set[str]:
    named = set()
    for manifest in manifests:
        named |= {manifest_path(manifest.version), manifest.plan_index.path}
        named |= {file.path for commit in manifest.shards for file in (commit.shard, commit.index)}
    return named


def _records_of(store: Store, paths: Iterable[str], named: set[str]) -> set[str]:
    """Commit records of shards that a version names."""
    records = {path: parse_commit(store.get(path), path) for path in paths if is_commit(path)}
    return {path for path, commit in records.items() if commit.shard.path in named}


def _shards_of_young_records(
    store: Store, loose: Iterable[Garbage], written: Mapping[str, float], before_s: float
) -> set[str]:
    """Old tars and indexes whose record is young: a rerun has just found and committed them."""
    young = [item.path for item in loose if item.kind == "commit" and written.get(item.path, before_s) >= before_s]
    commits = [parse_commit(store.get(path), path) for path in young]
    return {file.path for commit in commits for file in (commit.shard, commit.index)}


def _still_withdrawn(store: Store, kept: list[Manifest]) -> list[int]:
    tombstones = kept[-1].withdrawn
    if not tombstones:
        return []
    return [
        manifest.version
        for manifest in kept[:-1]
        if any(is_withdrawn(open_dataset(store, manifest.version).rows, tombstones).to_pylist())
    ]
