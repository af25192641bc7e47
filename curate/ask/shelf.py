"""Which clips of a catalog lie in published shards, exactly as the catalog has them: what need not be cut again."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute

from curate.ask.finished import FinishedRun
from curate.pack import score_fields
from shards.commit import Commit
from shards.index import read_index
from shards.manifest import Manifest, read_manifest, versions
from shards.schema import strings
from shards.store import Store, open_store

pc: Any = pyarrow.compute  # its stubs refuse the plain values that the functions take

_SAMPLE_OF_CLIP = ("caption", "caption_source", "dup_group")  # what SAMPLE takes over from a clip besides scores


@dataclass(frozen=True)
class Shelf:
    """Clips that published shards hold.

    Attributes:
        version: of the dataset that names the shards; 0 if nothing is published.
        commits: its shards.
        shards: clip_id -> path of the tar, relative to the dataset.
    """

    version: int = 0
    commits: Sequence[Commit] = ()
    shards: Mapping[str, str] = field(default_factory=dict)

    def commits_of(self, clip_ids: Collection[str]) -> list[Commit]:
        """The shards that hold any of these clips."""
        paths = {self.shards[clip_id] for clip_id in clip_ids if clip_id in self.shards}
        return [commit for commit in self.commits if commit.shard.path in paths]


def shelf_of(run: FinishedRun, wanted: Collection[str]) -> Shelf:
    """The version of the dataset whose shards hold most of the wanted clips; of equals, the newest.

    A clip counts if its sample says what the catalog says (scores, caption) and was cut as the run cuts: then its bytes
    are those that packing it again would give.
    """
    if not run.run_dir.dataset.is_dir():
        return Shelf()
    store, best, held = open_store(run.run_dir.dataset), Shelf(), -1
    seen: dict[str, dict[str, str]] = {}
    for version in reversed(versions(store)):
        manifest = read_manifest(store, version)
        if manifest.config.get("cut") != run.config.cut.resolved():
            continue
        shelf = _shelf(store, manifest, run.clips, seen)
        number = sum(clip_id in shelf.shards for clip_id in wanted)
        if number > held:
            best, held = shelf, number
        if held == len(wanted):
            break
    return best


def same_samples(index: pa.Table, clips: pa.Table) -> list[str]:
    """Keys of the samples that say what the catalog's rows say, in order of the index; vectors are not compared."""
    place = pc.index_in(index["key"], clips["clip_id"])
    same = place.is_valid()
    index, rows = index.filter(same), clips.take(place.filter(same).combine_chunks())
    equal = pa.array([True] * len(index), pa.bool_())
    names = [*_SAMPLE_OF_CLIP, *(item.name for item in score_fields(clips.schema))]
    for name in names:
        if name not in rows.column_names or pa.types.is_nested(rows.schema.field(name).type):
            continue
        if name not in index.column_names or index.schema.field(name).type != rows.schema.field(name).type:
            return []
        both_null = pc.and_(pc.is_null(index[name]), pc.is_null(rows[name]))
        equal = pc.and_(equal, pc.or_(pc.fill_null(pc.equal(index[name], rows[name]), False), both_null))
    return strings(index.filter(equal), "key")


def _shelf(store: Store, manifest: Manifest, clips: pa.Table, seen: dict[str, dict[str, str]]) -> Shelf:
    shards: dict[str, str] = {}
    for commit in manifest.shards:
        path = commit.shard.path
        if path not in seen:  # versions share shards, and shards do not change
            seen[path] = dict.fromkeys(same_samples(read_index(store.get(commit.index.path)), clips), path)
        shards |= seen[path]
    return Shelf(manifest.version, manifest.shards, shards)
