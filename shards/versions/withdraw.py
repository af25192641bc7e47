"""Withdrawing samples: a new version without them, and a tombstone that keeps them out of every later one.

The bytes stay in the tars, and older versions still name them, until `compact` and `collect` remove both.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from shards.errors import ConfigError
from shards.format.index import read_index
from shards.reading.reader import open_dataset
from shards.schema import strings
from shards.storage.store import Store, open_store
from shards.versions.append import continued
from shards.versions.manifest import Manifest
from shards.versions.publish import Draft, publish_next
from shards.versions.tombstones import DATE, Withdrawal, lifted, withdrawn_ids

_NAMES = ("key", "video_id", "source_uri", "source_sha256")


def withdraw(
    dataset: str | Path | Store,
    *,
    reason: str,
    sources: Sequence[str] = (),
    keys: Sequence[str] = (),
    by: str | None = None,
    date: str | None = None,
    unseen: bool = False,
) -> Manifest:
    """Publish the newest version without some samples, for good. What is withdrawn already changes nothing.

    Args:
        dataset: folder, uri or store of the dataset.
        reason: why, stored.
        sources: video_ids, sha256s or uris of sources; all their samples go, those of later runs too.
        keys: of samples. Another cut of the same source has other keys: name sources where a source must go.
        by: who decided, stored if given.
        date: when, YYYY-MM-DD, stored if given; nothing is taken from a clock.
        unseen: also accept names that no shard of the newest version has.

    Raises:
        ConfigError: nothing is published, nothing is named, a name is unknown, or the date is none.
        ContractError: no sample would be left.
    """
    store = open_store(dataset)
    if not (sources or keys) or not reason:
        raise ConfigError(
            f"withdrawal names {len(sources)} sources and {len(keys)} keys for the reason {reason!r}; "
            f"a reason and at least one source or key are needed; give them"
        )
    if date is not None and not DATE.fullmatch(date):
        raise ConfigError(f"date is {date!r}; YYYY-MM-DD is allowed; write it so, or leave it out")

    def draft(newest: Manifest | None) -> Draft:
        newest = _published(store, newest)
        known = _known(store, newest, [*sources, *keys])
        gone_sources, gone_keys = withdrawn_ids(newest.withdrawn)
        record = Withdrawal(
            reason=reason,
            by=by,
            date=date,
            sources=tuple(sorted(_video_ids(known, sources, unseen) - gone_sources)),
            keys=tuple(sorted(_known_keys(known, keys, unseen) - gone_keys)),
        )
        records = (*newest.withdrawn, record) if record.sources or record.keys else newest.withdrawn
        return replace(continued(store, newest), withdrawn=records)

    return publish_next(store, draft)


def lift(dataset: str | Path | Store, *, sources: Sequence[str] = (), keys: Sequence[str] = ()) -> Manifest:
    """Publish the newest version without tombstones of these sources and keys; `publish` may then bring samples back.

    Raises:
        ConfigError: nothing is published, or a name is not withdrawn.
    """
    store = open_store(dataset)

    def draft(newest: Manifest | None) -> Draft:
        newest = _published(store, newest)
        gone_sources, gone_keys = withdrawn_ids(newest.withdrawn)
        video_ids = _video_ids(_known(store, newest, sources), sources, unseen=True)
        unknown = sorted((video_ids - gone_sources) | (set(keys) - gone_keys))
        if unknown or not (sources or keys):
            raise ConfigError(
                f"names to lift are {unknown}; {len(gone_sources)} sources and {len(gone_keys)} keys are withdrawn; "
                f"name some of them"
            )
        return replace(continued(store, newest), withdrawn=lifted(newest.withdrawn, video_ids, keys))

    return publish_next(store, draft)


def _published(store: Store, newest: Manifest | None) -> Manifest:
    if newest is None:
        raise ConfigError(f"dataset {store.uri} has no published version; publish one or name another folder")
    return newest


def _known(store: Store, manifest: Manifest, names: Collection[str]) -> pa.Table:
    """Names of the samples in the version's shards, published or not.

    Publishing reads all indexes anyway, so they are not read here where the plan index is enough: for keys and
    video_ids of published samples, which name themselves. A uri or checksum may be of several videos, seen or not.
    """
    published = open_dataset(store, manifest.version).rows.select(list(_NAMES))
    known = {name for column in ("key", "video_id") for name in pc.unique(published.column(column)).to_pylist()}
    if set(names) <= known:
        return published
    return pa.concat_tables(read_index(store.get(commit.index.path), _NAMES) for commit in manifest.shards)


def _video_ids(known: pa.Table, names: Collection[str], unseen: bool) -> set[str]:
    ids = strings(known, "video_id")
    ids_of: dict[str, set[str]] = {}
    for column in ("video_id", "source_uri", "source_sha256"):
        for name, video_id in zip(known.column(column).to_pylist(), ids, strict=True):
            if name is not None:
                ids_of.setdefault(str(name), set()).add(video_id)
    return _resolved("source", names, ids_of, unseen)


def _known_keys(known: pa.Table, names: Collection[str], unseen: bool) -> set[str]:
    return _resolved("key", names, {key: {key} for key in strings(known, "key")}, unseen)


def _resolved(what: str, names: Collection[str], ids_of: Mapping[str, set[str]], unseen: bool) -> set[str]:
    unknown = sorted(name for name in names if name not in ids_of)
    if unknown and not unseen:
        raise ConfigError(
            f"{what} is {unknown[0]!r} ({len(unknown)} such); no shard of the newest version has it; "
            f"correct it, or give --unseen to keep out what may come"
        )
    return {found for name in names for found in ids_of.get(name, {name})}
