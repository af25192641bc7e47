"""From a foreign dataset to a version: tars that fit are adopted as they are, everything else is written as shards."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from threading import Event
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field

from shards.config import Config
from shards.errors import ConfigError, ContractError, MediaError
from shards.faults import reached
from shards.format.commit import Commit, commit_shard, commit_tar
from shards.ids import digest
from shards.importing.clashes import refuse_clashes, taken_keys
from shards.importing.items import Failure, Found, Item, keys_of
from shards.importing.lists import read_csv, read_hf
from shards.importing.probe import Prober
from shards.importing.rows import Probed, rows_table, score_columns
from shards.importing.tars import read_tars
from shards.reading.config import ChildLimits
from shards.schema import ADOPTED
from shards.storage.store import Store, open_store
from shards.versions.append import append
from shards.versions.manifest import Manifest, versions
from shards.versions.splits import SplitConfig

Kind = Literal["webdataset", "csv", "video2dataset", "hf"]
IMPORTED = "import"
MIXED = "mixed"  # bucket of an adopted tar whose clips have several


class ImportConfig(Config):
    """What is imported, and how."""

    kind: Kind = Field(description="What the source is.")
    caption: str | None = Field(default=None, description="Column or .json key of captions; null finds the usual ones.")
    source: str | None = Field(
        default=None, description="Column or .json key that names the video a clip was cut from; null: each its own."
    )
    path: str | None = Field(default=None, description="Column of paths of a CSV; null finds the usual ones.")
    licence: str | None = Field(default=None, description="Licence of all clips.")
    adopt: bool = Field(default=True, description="Take tars that fit as they are; false writes all anew.")
    samples_per_shard: int = Field(default=256, ge=1, description="Most samples in a shard that is written.")
    shard_bytes: int = Field(default=256 << 20, gt=0, description="A shard is closed before it grows beyond, B.")
    split: SplitConfig = Field(default=SplitConfig(), description="How a new dataset is divided.")
    child: ChildLimits = Field(default=ChildLimits(), description="What probing one clip may cost.")


@dataclass(frozen=True)
class Imported:
    """What an import did.

    Attributes:
        manifest: the version.
        adopted: tars taken as they are.
        rewritten: tars that were not, with the reason.
        failures: clips that are not in the version.
        left: names of values that came along and are no columns.
    """

    manifest: Manifest
    adopted: Sequence[Path]
    rewritten: Mapping[Path, str]
    failures: Sequence[Failure]
    left: Sequence[str]


def import_dataset(
    source: Path, out: str | Path | Store, config: ImportConfig, scratch: Path, num_workers: int = 2
) -> Imported:
    """Make a foreign dataset a version of a new dataset, or append it to one.

    Every clip is decoded once, in a child; what does not decode is a failure with a code, and the rest goes on.

    Args:
        source: folder or file.
        out: where the dataset goes.
        config: what is imported.
        scratch: existing folder for tars while they are built; best on the disk of `out`.
        num_workers: children that decode at the same time.

    Raises:
        ConfigError: the source is not what `kind` says, it names a clip twice, a key is that of another sample of the
            dataset, or no clip can be taken.
        ContractError: a clip changes while it is imported.
        StoreError: storage failed.
    """
    store = open_store(out)
    found = _read(source, config)
    keys = keys_of([item.name for item in found.items])
    taken = taken_keys(store, keys)
    refuse_clashes(store, taken, {key: item.media.size for key, item in zip(keys, found.items, strict=True)})
    clips, failures = _probed(found.items, keys, config.child, num_workers)
    failures = [*found.failures, *failures]
    if not clips:
        first = f"{failures[0].name}: {failures[0].code}, {failures[0].detail}" if failures else "it names none"
        raise ConfigError(f"source {source} has no clip that can be imported; {first}; see --kind and its options")
    scores, left = score_columns([clip.item for clip in clips])
    fit = _adoptable(found, clips, config)
    identity = [[c.item.name, c.sha256, c.item.caption, c.item.source] for c in clips]
    plan_id = digest(["import", 1, config.resolved(), identity, sorted(scores), sorted(map(str, fit))])
    refuse_clashes(store, taken, plan_id=plan_id)
    reached("import-probed")
    commits: list[Commit] = []
    for tar, group in fit.items():
        rows = rows_table(group, ADOPTED, config.licence, scores)
        buckets = {clip.bucket for clip in group}
        commits.append(
            commit_tar(store, plan_id, len(commits), buckets.pop() if len(buckets) == 1 else MIXED, rows, tar)
        )
        reached("import-shard")
    for group in _shards([clip for clip in clips if clip.item.tar not in fit], config):
        rows = rows_table(group, IMPORTED, config.licence, scores)
        commits.append(_written(store, plan_id, len(commits), group, rows, scratch))
        reached("import-shard")
    splits = None if versions(store) else config.split
    manifest = append(store, commits, {"import": config.resolved()}, splits)
    rewritten = {tar: reason for tar, reason in found.unfit.items() if reason is not None}
    return Imported(manifest, list(fit), rewritten, failures, left)


def _read(source: Path, config: ImportConfig) -> Found:
    if config.kind == "csv":
        return read_csv(source, config.caption, config.source, config.path)
    if config.kind == "hf":
        return read_hf(source, config.caption, config.source)
    origin = config.source or ("url" if config.kind == "video2dataset" else None)
    return read_tars(source, config.caption, origin)


def _probed(
    items: Sequence[Item], keys: Sequence[str], limits: ChildLimits, num_workers: int
) -> tuple[list[Probed], list[Failure]]:
    """Facts of every clip, in order; each thread has a child of its own."""
    stripes = [list(zip(items, keys, strict=True))[number::num_workers] for number in range(num_workers)]
    stop = Event()
    with ThreadPoolExecutor(num_workers) as pool:
        try:
            results = list(pool.map(lambda stripe: _probe_some(stripe, limits, stop), stripes))
        finally:
            stop.set()  # leaving the pool waits for its threads, after Ctrl-C too
    ordered = [results[number % num_workers][number // num_workers] for number in range(len(items))]
    return [one for one in ordered if isinstance(one, Probed)], [one for one in ordered if isinstance(one, Failure)]


def _probe_some(items: Sequence[tuple[Item, str]], limits: ChildLimits, stop: Event) -> list[Probed | Failure]:
    prober = Prober(limits)
    try:
        return [_probe(prober, item, key) for item, key in items if not stop.is_set()]
    finally:
        prober.close()


def _probe(prober: Prober, item: Item, key: str) -> Probed | Failure:
    mp4 = item.media.read()
    try:
        facts = prober.probe(mp4)
    except MediaError as error:
        return Failure(item.name, error.code, str(error))
    return Probed(item, key, hashlib.sha256(mp4).hexdigest(), facts)


def _adoptable(found: Found, clips: Sequence[Probed], config: ImportConfig) -> dict[Path, list[Probed]]:
    """The clips of every tar that stays as it is; for the others the reason is noted in `found.unfit`."""
    num_items: dict[Path, int] = {}
    for item in found.items:
        if item.tar:
            num_items[item.tar] = num_items.get(item.tar, 0) + 1
    fit: dict[Path, list[Probed]] = {}
    for tar, group in _by_tar(clips).items():
        reason = found.unfit[tar] or _unfit(group, num_items[tar], config)
        found.unfit[tar] = reason
        if reason is None:
            fit[tar] = group
    return fit


def _by_tar(clips: Sequence[Probed]) -> dict[Path, list[Probed]]:
    groups: dict[Path, list[Probed]] = {}
    for clip in clips:
        if clip.item.tar:
            groups.setdefault(clip.item.tar, []).append(clip)
    return groups


def _unfit(group: Sequence[Probed], num_items: int, config: ImportConfig) -> str | None:
    if not config.adopt:
        return "adopting is turned off"
    if len(group) < num_items:
        return f"{num_items - len(group)} of its {num_items} clips cannot be decoded"
    renamed = next((clip for clip in group if clip.key != clip.item.name.rpartition("/")[2]), None)
    return f"the key of {renamed.item.name} occurs in another tar too" if renamed else None


def _shards(clips: Sequence[Probed], config: ImportConfig) -> Iterator[list[Probed]]:
    """Clips by bucket, in order, cut by number and size."""
    by_bucket = attrgetter("bucket")
    for _, same in groupby(sorted(clips, key=by_bucket), key=by_bucket):
        group: list[Probed] = []
        size = 0
        for clip in same:
            if group and (len(group) == config.samples_per_shard or size + clip.item.media.size > config.shard_bytes):
                yield group
                group, size = [], 0
            group.append(clip)
            size += clip.item.media.size
        yield group


def _unchanged(clip: Probed) -> bytes:
    """The bytes that were probed, read again to be copied.

    Raises:
        ContractError: somebody changed them meanwhile.
    """
    mp4 = clip.item.media.read()
    if hashlib.sha256(mp4).hexdigest() != clip.sha256:
        raise ContractError(
            f"clip {clip.item.name} has other bytes than a moment ago; a source that is imported must not change; wait "
            f"until it is complete, then rerun"
        )
    return mp4


def _written(store: Store, plan_id: str, number: int, group: Sequence[Probed], rows: pa.Table, scratch: Path) -> Commit:
    members: list[Mapping[str, Any]] = [{"mp4": _unchanged(clip)} for clip in group]
    return commit_shard(store, plan_id, number, group[0].bucket, rows, members, scratch)
