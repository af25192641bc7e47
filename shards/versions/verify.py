"""Checking a dataset from the outside: every promise of the format, each broken one a row with a code and a place.

Quick looks at names, sizes and the plan index, deep reads every byte, frames decodes every clip. Nothing is repaired.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from shards.errors import ContractError
from shards.format.commit import Commit, StoredFile, is_commit, parse_commit
from shards.format.index import PLACE_COLUMNS, read_index, sample_json, sample_text
from shards.format.tar import parse_tar
from shards.format.writer import MemberRecord, group_samples
from shards.plans.shard_bounds import shard_starts
from shards.schema import ADOPTED, member_column, members_of, strings
from shards.storage.store import ObjectMissing, Store, is_leftover, open_store
from shards.versions.manifest import LATEST, README, Manifest, manifest_path, read_manifest, versions
from shards.versions.plan_index import ID
from shards.versions.splits import assign_splits
from shards.versions.tombstones import is_withdrawn


@dataclass(frozen=True)
class Problem:
    """A broken promise.

    Attributes:
        code: stable: missing, size, sha256, tar, index, member, content, frames, plan_index, split, withdrawn,
            manifest, commit, latest, orphan, leftover (of a killed writer: in nobody's way), foreign.
        path: of the object.
        detail: for people.
    """

    code: str
    path: str
    detail: str


def verify(
    dataset: str | Path | Store, version: int | None = None, deep: bool = True, frames: bool = False
) -> list[Problem]:
    """Everything that is wrong with a version, and with what lies around it.

    Args:
        dataset: folder, uri or store of the dataset.
        version: number of the version; None for the newest.
        deep: read every byte: checksums, tar against index, members against rows.
        frames: decode every clip too: count, pts and, where the index has it, digest of presented frames as in the
            index, and no damaged one among them.

    Raises:
        ConfigError: nothing is published there, or not this version.
        StoreError: storage failed.
    """
    store = open_store(dataset)
    try:
        manifest = read_manifest(store, version)
    except ContractError as error:
        return [Problem("manifest", manifest_path(version or versions(store)[-1]), str(error))]
    table, problems = _plan_index(store, manifest)
    problems = [*_surroundings(store), *problems]
    sizes = {} if deep or frames else {item.path: item.size_bytes for item in store.list()}
    rows_of = {} if table is None else _by_shard(table)
    for commit in manifest.shards:
        if deep or frames:
            published = None if table is None else rows_of.get(commit.shard.path, table.slice(0, 0))
            problems += _shard(store, commit, published, frames)
        else:
            problems += [found for file in (commit.shard, commit.index) for found in _size(file, sizes.get(file.path))]
    return problems


def _surroundings(store: Store) -> Iterator[Problem]:
    """LATEST, other manifests, commit records, and files that nothing names."""
    named = {README, LATEST}
    for number in versions(store):
        named.add(manifest_path(number))
        try:
            named |= _names(read_manifest(store, number))
        except ContractError as error:
            yield Problem("manifest", manifest_path(number), str(error))
    files = {item.path: item.size_bytes for item in store.list()}
    for path in filter(is_commit, files):
        named.add(path)
        try:
            commit = parse_commit(store.get(path), path)
            named |= {commit.shard.path, commit.index.path}
        except ContractError as error:
            yield Problem("commit", path, str(error))
    yield from _latest(store)
    for path in sorted(set(files) - named):
        yield _unnamed(path)


def _unnamed(path: str) -> Problem:
    if is_leftover(path):
        return Problem("leftover", path, "a writer was killed; nobody reads it; it may be removed")
    if path.startswith(("shards/", "index/", "manifests/")) and path.endswith((".tar", ".parquet", ".plan.arrow")):
        return Problem("orphan", path, "no commit or manifest names it")
    return Problem("foreign", path, "no file of a dataset has this name")


def _latest(store: Store) -> Iterator[Problem]:
    try:
        text = store.get(LATEST).decode("ascii", "replace")
        name, _, sha256 = text.strip().partition(" ")
        data = store.get(f"manifests/{name}.json")
    except (ObjectMissing, ContractError) as error:
        yield Problem("latest", LATEST, str(error))
        return
    if hashlib.sha256(data).hexdigest() != sha256:
        yield Problem("latest", LATEST, f"{name} has another sha256 than it says")


def _names(manifest: Manifest) -> set[str]:
    shards = {path for commit in manifest.shards for path in (commit.shard.path, commit.index.path)}
    return shards | {manifest.plan_index.path}


def _plan_index(store: Store, manifest: Manifest) -> tuple[pa.Table | None, list[Problem]]:
    """The plan index, None if it is damaged, and what is wrong with it by itself."""
    data, problems = _checked(store, manifest.plan_index)
    if data is None or problems:
        return None, problems
    table = pa.ipc.open_file(data).read_all()
    return table, list(_plan_rows(table, manifest))


def _plan_rows(table: pa.Table, manifest: Manifest) -> Iterator[Problem]:
    file = manifest.plan_index
    if table.column(ID.name).to_pylist() != list(range(file.num_samples)):
        yield Problem("plan_index", file.path, f"ids are not 0 to {file.num_samples - 1}")
    sides = assign_splits(strings(table, "video_id"), table.column("dup_group").to_pylist(), manifest.split_config)
    if table.column("split").to_pylist() != sides:
        yield Problem("split", file.path, "splits are not those that the manifest's split_config gives")
    if pc.any(is_withdrawn(table, manifest.withdrawn)).as_py():
        yield Problem("withdrawn", file.path, "samples are published that the manifest says are withdrawn")


def _by_shard(table: pa.Table) -> dict[str, pa.Table]:
    """The rows of every shard, by path of its tar; they lie together."""
    bounds = [*shard_starts(table).tolist(), len(table)]
    parts = [table.slice(start, end - start) for start, end in pairwise(bounds)]
    return {strings(part.select(["shard"]).slice(0, 1), "shard")[0]: part for part in parts}


def _same_rows(commit: Commit, index: pa.Table, rows: pa.Table) -> Iterator[Problem]:
    """Rows of the plan index are rows of the shard's index, in its order."""
    names = [name for name in rows.column_names if name not in (ID.name, "split")]
    if not set(names) <= set(index.column_names):
        yield Problem("plan_index", commit.index.path, "lacks columns of the plan index")
        return
    published = index.filter(pc.is_in(index.column("key"), value_set=rows.column("key").combine_chunks()))
    if published.select(names).to_pylist() != rows.select(names).to_pylist():
        yield Problem("plan_index", commit.index.path, "rows differ from those of the plan index")


def _shard(store: Store, commit: Commit, published: pa.Table | None, frames: bool) -> list[Problem]:
    """What is wrong with a tar and its index; both are read once.

    Args:
        store: of the dataset.
        commit: of the shard.
        published: its rows of the plan index; None if that is damaged.
        frames: decode every clip.
    """
    index_data, index_problems = _checked(store, commit.index)
    tar_data, tar_problems = _checked(store, commit.shard)
    problems = [*index_problems, *tar_problems]
    index = None
    try:
        index = None if index_data is None else read_index(index_data)
    except ContractError as error:
        problems.append(Problem("index", commit.index.path, str(error)))
    if index is not None and published is not None:
        problems += _same_rows(commit, index, published)
    if index is None or tar_data is None:
        return problems
    tar = memoryview(tar_data)
    try:
        samples = group_samples(tar, parse_tar(tar))
    except ContractError as error:
        return [*problems, Problem("tar", commit.shard.path, str(error))]
    try:
        return [*problems, *_rows(commit, tar, samples, index.to_pylist(), frames)]
    except (ContractError, KeyError) as error:
        return [*problems, Problem("index", commit.index.path, str(error))]


def _rows(
    commit: Commit,
    tar: memoryview,
    samples: list[tuple[str, dict[str, MemberRecord]]],
    rows: list[dict[str, Any]],
    frames: bool,
) -> Iterator[Problem]:
    path = commit.shard.path
    keys = [key for key, _ in samples]
    if keys != [row["key"] for row in rows] or len(rows) != commit.num_samples:
        yield Problem(
            "index", path, f"the tar has {len(keys)} samples, the index {len(rows)}, in another order or number"
        )
        return
    if members_of(rows[0]) != tuple(samples[0][1]):
        yield Problem("index", path, f"samples have {list(samples[0][1])}, the index knows {members_of(rows[0])}")
        return
    for row, (key, records) in zip(rows, samples, strict=True):
        for suffix, record in records.items():
            if any(row.get(name) != value for name, value in _named(suffix, record).items()):
                yield Problem("member", path, f"{key}.{suffix} is not as indexed")
        member = {suffix: bytes(tar[r.offset : r.offset + r.size]) for suffix, r in records.items()}
        own_json = row["cut_mode"] != ADOPTED  # else it is what somebody else wrote
        if (own_json and member["json"] != sample_json(row_values(row))) or member["txt"] != sample_text(row):
            yield Problem("content", path, f"{key}: .json or .txt disagree with the index")
        if frames and "mp4" in member:
            yield from _presented(path, row, member["mp4"])


def _named(suffix: str, record: MemberRecord) -> dict[str, Any]:
    """The columns of the index that say what a record says."""
    values = asdict(record) | {"shape": None if record.shape is None else list(record.shape)}
    return {member_column(suffix, part): value for part, value in values.items() if value is not None}


def row_values(row: dict[str, Any]) -> dict[str, Any]:
    """What the .json member repeats of a row of the index: all but the places in the shard."""
    return {name: value for name, value in row.items() if name not in PLACE_COLUMNS}


def _presented(path: str, row: dict[str, Any], mp4: bytes) -> Iterator[Problem]:
    from av.error import FFmpegError

    from shards.reading.decode import present

    try:
        shown = present(mp4, with_digest=row.get("decoded_digest") is not None)
    except (FFmpegError, IndexError) as error:
        yield Problem("frames", path, f"{row['key']} does not decode: {error}")
        return
    if shown.pts != row["frame_pts"] or len(shown.pts) != row["num_frames"]:
        yield Problem(
            "frames",
            path,
            f"{row['key']} presents {len(shown.pts)} frames, {_ends(shown.pts)}; the index has {row['num_frames']}, "
            f"{_ends(row['frame_pts'])}",
        )
    elif shown.num_corrupt:
        yield Problem("frames", path, f"{row['key']} has {shown.num_corrupt} damaged frames")
    elif shown.digest is not None and shown.digest != row["decoded_digest"]:
        yield Problem("frames", path, f"{row['key']} shows other pictures than those that were cut")


def _ends(pts: list[int]) -> str:
    return f"pts {pts[0]} to {pts[-1]}" if pts else "none"


def _checked(store: Store, file: StoredFile) -> tuple[bytes | None, list[Problem]]:
    """An object's bytes, and what is wrong with them as a whole."""
    try:
        data = store.get(file.path)
    except ObjectMissing as error:
        return None, [Problem("missing", file.path, str(error))]
    problems = list(_size(file, len(data)))
    if not problems and hashlib.sha256(data).hexdigest() != file.sha256:
        problems = [Problem("sha256", file.path, "the bytes are not those that were committed")]
    return data, problems


def _size(file: StoredFile, size_bytes: int | None) -> Iterator[Problem]:
    if size_bytes is None:
        yield Problem("missing", file.path, "the manifest names it")
    elif size_bytes != file.size_bytes:
        yield Problem("size", file.path, f"{size_bytes} bytes; the manifest says {file.size_bytes}")
