"""What differs between two versions: samples by key and by the checksums of their members, columns, sizes, splits."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from shards.errors import ConfigError
from shards.reading.reader import open_dataset
from shards.schema import strings
from shards.storage.store import Store, open_store
from shards.versions.manifest import Manifest, versions

_HASH = "_xxh3"


@dataclass(frozen=True)
class Move:
    """A sample that lies in another split than before."""

    key: str
    before: str
    after: str


@dataclass(frozen=True)
class VersionDiff:
    """From one version to another.

    Attributes:
        before: manifest of the one.
        after: manifest of the other.
        added: keys only in the other, sorted.
        removed: keys only in the one, sorted.
        changed: for keys of both, sorted, the members whose bytes differ.
        moves: samples of both that lie in another split, by key.
    """

    before: Manifest
    after: Manifest
    added: Sequence[str]
    removed: Sequence[str]
    changed: Mapping[str, Sequence[str]]
    moves: Sequence[Move]

    @property
    def same_samples(self) -> bool:
        """Whether both publish the same bytes in the same splits."""
        return not (self.added or self.removed or self.changed or self.moves)

    def columns(self) -> tuple[list[str], list[str], list[str]]:
        """Names of the columns added, removed, and changed in type, unit or meaning; in the order of the manifests."""
        before = {column.name: column for column in self.before.columns}
        after = {column.name: column for column in self.after.columns}
        changed = [name for name in before if name in after and before[name] != after[name]]
        return [name for name in after if name not in before], [name for name in before if name not in after], changed

    def stats(self) -> dict[str, tuple[float, float]]:
        """Totals of the versions that differ, (before, after)."""
        before, after = (manifest.stats.model_dump(exclude={"columns"}) for manifest in (self.before, self.after))
        return {name: (before[name], after[name]) for name in before if before[name] != after[name]}

    def shards(self) -> tuple[list[str], list[str]]:
        """Paths of the tars added and removed."""
        before, after = ({commit.shard.path for commit in m.shards} for m in (self.before, self.after))
        return sorted(after - before), sorted(before - after)


def diff(dataset: str | Path | Store, before: int | None = None, after: int | None = None) -> VersionDiff:
    """Compare two versions of a dataset.

    Args:
        dataset: folder, uri or store of the dataset.
        before: number of the one; None for the version before `after`.
        after: number of the other; None for the newest.

    Raises:
        ConfigError: a version does not exist, or there is none before.
    """
    store = open_store(dataset)
    new = open_dataset(store, after)
    if before is None:
        earlier = [number for number in versions(store) if number < new.manifest.version]
        if not earlier:
            raise ConfigError(
                f"dataset {store.uri} has no version before {new.manifest.version}; two are compared; give --from"
            )
        before = earlier[-1]
    old = open_dataset(store, before)
    return compare(old.manifest, old.rows, new.manifest, new.rows)


def compare(before: Manifest, old: pa.Table, after: Manifest, new: pa.Table) -> VersionDiff:
    """Compare two versions by their manifests and plan indexes."""
    hashes = [name for name in old.column_names if name.endswith(_HASH) and name in new.column_names]
    sides = [rows.select(["key", "split", *hashes]).combine_chunks() for rows in (old, new)]
    sides = [side.append_column("here", pa.array([True] * len(side), pa.bool_())) for side in sides]
    both = sides[0].join(sides[1], "key", join_type="full outer", right_suffix="_after")
    both = both.sort_by("key")
    in_old, in_new = (both.column(name).is_valid() for name in ("here", "here_after"))
    kept = both.filter(pc.and_(in_old, in_new))
    return VersionDiff(
        before,
        after,
        added=strings(both.filter(pc.invert(in_old)), "key"),
        removed=strings(both.filter(pc.invert(in_new)), "key"),
        changed=_changed(kept, hashes),
        moves=_moves(kept),
    )


def count_moves(moves: Sequence[Move]) -> dict[str, int]:
    """Samples by the way they went, `train to val` -> number."""
    return dict(sorted(Counter(f"{move.before} to {move.after}" for move in moves).items()))


def _changed(kept: pa.Table, hashes: Sequence[str]) -> dict[str, list[str]]:
    changed: dict[str, list[str]] = {}
    for name in hashes:
        differs = pc.not_equal(kept.column(name), kept.column(f"{name}_after"))
        for key in strings(kept.filter(differs), "key"):
            changed.setdefault(key, []).append(name.removesuffix(_HASH))
    return dict(sorted(changed.items()))


def _moves(kept: pa.Table) -> list[Move]:
    moved = kept.filter(pc.not_equal(kept.column("split"), kept.column("split_after")))
    columns = (strings(moved, name) for name in ("key", "split", "split_after"))
    return [Move(*values) for values in zip(*columns, strict=True)]
