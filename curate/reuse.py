"""Which published shards stand as they are, and which kept clips are still to be cut.

Changed rules change which samples of a shard are published, not its bytes. So a run takes every shard of any version
whose samples say what the catalog says now and that was cut as this run cuts; only the clips in none of them are cut.
Only published shards count, so that a run that was killed plans the same shards again and finds those it had made.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from curate.clips.cut import CutConfig
from curate.pack import CROPPED_COLUMNS, score_fields
from curate.rundir import RunDir, read_json, write_json
from shards.format.commit import Commit
from shards.format.index import ROW, read_index
from shards.storage.store import ObjectMissing, Store, open_store
from shards.versions.manifest import read_manifest, versions

pc: Any = pyarrow.compute  # its stubs refuse the plain values that the functions take

SHARDS_AT_ONCE = 64  # indexes in memory together
SAMPLE_OF_CLIP = ("caption", "caption_source", "dup_group")  # what a sample takes over from its clip besides scores
SAMPLE_OF_VIDEO = {"source_uri": "uri", "source_sha256": "sha256", "licence": "licence"}


@dataclass(frozen=True)
class Reuse:
    """What need not be cut again.

    Attributes:
        commits: shards that stand, each with one or more of the kept clips.
        held_N: bool per kept clip: it lies in one of them.
        failed: clip_id -> code of clips that a finished run could not cut.
    """

    commits: Sequence[Commit]
    held_N: np.ndarray
    failed: Mapping[str, str]


def find_reuse(run_dir: RunDir, kept: pa.Table, videos: pa.Table, cut: CutConfig, cut_id: str) -> Reuse:
    """Look through all versions of the dataset, the newest first.

    A shard stands if every kept clip in it says what the catalog says and lies in no shard taken before. So a key is
    published once, and a sample that has become stale has its shard made anew.

    Args:
        run_dir: holds the dataset; there may be none yet.
        kept: rows of the catalog that are to be published.
        videos: rows of VIDEO with status ok.
        cut: how this run cuts; shards of versions that cut otherwise are not used.
        cut_id: of what else failures depend on, see `remember_failures`.
    """
    if not run_dir.dataset.is_dir():
        return Reuse([], np.zeros(len(kept), bool), {})
    store = open_store(run_dir.dataset)
    published = versions(store)
    wanted = with_source(kept, videos)
    commits, taken_N = [], np.zeros(len(kept), bool)
    candidates = list(_commits(store, published, cut))
    for start in range(0, len(candidates), SHARDS_AT_ONCE):
        for commit, rows in _standing(store, candidates[start : start + SHARDS_AT_ONCE], wanted, cut):
            if not taken_N[rows].any():
                taken_N[rows] = True
                commits.append(commit)
    failed = _failures(run_dir, cut_id) if published else {}
    return Reuse(commits, taken_N, failed)


def remember_failures(run_dir: RunDir, failed: Mapping[str, str], cut_id: str) -> None:
    """Keep what could not be cut, once it is published without it; other cut options or tools try again."""
    write_json(_failures_path(run_dir), {"cut_id": cut_id, "failed": dict(sorted(failed.items()))})


def forget_failures(run_dir: RunDir, clip_ids: Collection[str]) -> None:
    """Let the next run try again to cut these clips."""
    path = _failures_path(run_dir)
    if clip_ids and path.is_file():
        found = read_json(path)
        write_json(
            path, found | {"failed": {key: code for key, code in found["failed"].items() if key not in clip_ids}}
        )
    for record in path.parent.glob("*-*.json") if clip_ids else ():
        tried = read_json(record)
        if not tried["num_samples"] and not set(clip_ids).isdisjoint(tried["failed"]):
            record.unlink()  # else a plan of the same clips would be taken for done


def with_source(clips: pa.Table, videos: pa.Table) -> pa.Table:
    """Clips with what their samples will say of the source, under the names of SAMPLE."""
    rows = pc.index_in(clips["video_id"].combine_chunks(), value_set=videos["video_id"].combine_chunks())
    for name, column in SAMPLE_OF_VIDEO.items():
        clips = clips.append_column(name, videos[column].take(rows))
    return clips


def _commits(store: Store, published: Sequence[int], cut: CutConfig) -> Iterator[Commit]:
    seen: set[str] = set()
    for version in reversed(published):
        manifest = read_manifest(store, version)
        if manifest.config.get("cut") == cut.resolved():
            yield from (commit for commit in manifest.shards if commit.shard.path not in seen)
            seen |= {commit.shard.path for commit in manifest.shards}


def _standing(
    store: Store, commits: Sequence[Commit], wanted: pa.Table, cut: CutConfig
) -> Iterator[tuple[Commit, np.ndarray]]:
    """Shards all of whose wanted samples are as wanted, each with the rows of these; there is one or more."""
    changed = CROPPED_COLUMNS if cut.encode.crop != "none" else ()  # samples say less of them than the catalog
    names = [*SAMPLE_OF_CLIP, *SAMPLE_OF_VIDEO, *(item.name for item in score_fields(wanted.schema))]
    names = [name for name in dict.fromkeys(names) if name not in changed]
    names = [name for name in names if not pa.types.is_nested(wanted.schema.field(name).type)]
    schema = pa.schema([ROW.field("key"), *(wanted.schema.field(name) for name in names)])
    found = [(commit, index) for commit in commits if (index := _index(store, commit, schema)) is not None]
    if not found:
        return
    owner_M = np.repeat(np.arange(len(found)), [len(index) for _, index in found])
    index = pa.concat_tables([index for _, index in found])
    place = pc.index_in(index["key"].combine_chunks(), value_set=wanted["clip_id"].combine_chunks())
    is_wanted = place.is_valid()
    index, owner_M = index.filter(is_wanted), owner_M[is_wanted.to_numpy(zero_copy_only=False)]
    rows_M = place.drop_null().to_numpy()
    same_M = _same(index, wanted.select(names).take(rows_M))
    for number, (commit, _) in enumerate(found):
        own_M = owner_M == number
        if own_M.any() and same_M[own_M].all():
            yield commit, rows_M[own_M]


def _index(store: Store, commit: Commit, schema: pa.Schema) -> pa.Table | None:
    """Columns of a shard's index; None if it was collected, or was made of other columns."""
    try:
        store.get_range(commit.shard.path, 0, 1)
        index = read_index(store.get(commit.index.path))
    except ObjectMissing:
        return None
    types = dict(zip(index.column_names, index.schema.types, strict=True))
    if any(types.get(field.name) != field.type for field in schema):
        return None
    return index.select(schema.names).cast(schema)


def _same(ours: pa.Table, theirs: pa.Table) -> np.ndarray:
    """bool per row: equal in every column of `theirs`; null equals null."""
    same_M = np.ones(len(ours), bool)
    for name in theirs.column_names:
        both_null = pc.and_(pc.is_null(ours[name]), pc.is_null(theirs[name]))
        equal = pc.or_(pc.fill_null(pc.equal(ours[name], theirs[name]), False), both_null)
        same_M &= equal.to_numpy()
    return same_M


def _failures_path(run_dir: RunDir) -> Path:
    return run_dir.root / "parts" / "packed" / "failed.json"


def _failures(run_dir: RunDir, cut_id: str) -> Mapping[str, str]:
    path = _failures_path(run_dir)
    found = read_json(path) if path.is_file() else {}
    return found["failed"] if found.get("cut_id") == cut_id else {}
