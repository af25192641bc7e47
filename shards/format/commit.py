"""Committing one shard: tar, index and completion record, each created once or not at all.

A task owns a shard number. It may run twice, or be a zombie of an earlier attempt: the same samples give the same
bytes, so the second attempt finds what it wanted to write. Without a completion record a shard does not exist.
"""

import hashlib
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shards.errors import ConfigError, ContractError
from shards.faults import reached
from shards.format.index import check_rows, index_bytes, index_table, sample_json, sample_text
from shards.format.writer import SampleBytes, ShardRecord, read_shard, write_shard
from shards.storage.store import ObjectMissing, Store, create_or_same, local_writing, open_store
from shards.versions.lifetime import refresh

PLAN_DIGITS = 8


class Record(BaseModel):
    """Base of what is stored as JSON in a dataset: frozen, closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class StoredFile(Record):
    """An object of a dataset, with the checksum that every version names it by."""

    path: str = Field(description="Relative to the dataset.")
    size_bytes: int = Field(ge=0, description="Size.")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="Checksum.")


class Commit(Record):
    """Completion record of one shard; manifests repeat it."""

    plan_id: str = Field(pattern=r"^[0-9a-f]{8,64}$", description="Hash of all that the shard's bytes depend on.")
    shard_no: int = Field(ge=0, description="Number of the shard in its plan.")
    bucket: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", description="Bucket of the samples.")
    num_samples: int = Field(gt=0, description="Samples in the tar.")
    shard: StoredFile
    index: StoredFile


def commit_path(plan_id: str, shard_no: int) -> str:
    """Where the completion record of a shard lies."""
    return f"commits/{plan_id[:PLAN_DIGITS]}/{shard_no:06d}.json"


def commit_shard(
    dataset: str | Path | Store,
    plan_id: str,
    shard_no: int,
    bucket: str,
    rows: pa.Table,
    members: Sequence[Mapping[str, bytes | Path]],
    scratch: Path,
    folder: str | None = None,
) -> Commit:
    """Build, verify and commit a shard; a shard that is committed already with the same content is fine.

    Args:
        dataset: folder, uri or store of the dataset.
        plan_id: hash of inputs, configuration, versions and weights; its first 8 digits name files.
        shard_no: number of the shard in the plan.
        bucket: of the samples.
        rows: one row per sample, columns of `index.ROW` and any score columns.
        members: for each row what goes into the tar beside .json and .txt, which are made of the row: {"mp4": path},
            {"latent.npy": bytes}, …; the same members for all.
        scratch: existing folder for the tar while it is built; best on the dataset's disk.
        folder: below shards/ and index/; the bucket by default.

    Raises:
        ContractError: rows or members break the contract, or the name is taken by other bytes.
        StoreError: storage failed.
    """
    store = open_store(dataset)
    rows = check_rows(rows)
    with _building(scratch) as work:
        tar = work / "shard.tar"
        with local_writing(tar):
            record = write_shard(tar, _samples(rows.to_pylist(), members))
        return _commit_built(store, tar, record, rows, plan_id, shard_no, bucket, folder or bucket)


def commit_tar(
    dataset: str | Path | Store, plan_id: str, shard_no: int, bucket: str, rows: pa.Table, tar: Path
) -> Commit:
    """Commit a tar that is there already and fits the format; on the dataset's disk it is linked, not copied.

    Args:
        dataset: folder, uri or store of the dataset.
        plan_id: as of `commit_shard`.
        shard_no: as of `commit_shard`.
        bucket: of the samples; folder below shards/ and index/.
        rows: one row per sample, in the order of the tar, columns of `index.ROW` and any score columns.
        tar: the file; it must not change afterwards.

    Raises:
        ContractError: tar or rows break the contract, or the name is taken by other bytes.
        StoreError: storage failed.
    """
    store, rows = open_store(dataset), check_rows(rows)
    record = read_shard(tar)
    keys = [key for key, _ in record.samples]
    if keys != rows.column("key").to_pylist():
        raise ContractError(f"{tar} has {len(keys)} samples, not those of the {len(rows)} rows in their order")
    return _commit_built(store, tar, record, rows, plan_id, shard_no, bucket, bucket)


def _commit_built(
    store: Store,
    tar: Path,
    record: ShardRecord,
    rows: pa.Table,
    plan_id: str,
    shard_no: int,
    bucket: str,
    folder: str,
) -> Commit:
    name = f"{folder}/{plan_id[:PLAN_DIGITS]}-{shard_no:06d}"
    shard_path, index_path = f"shards/{name}.tar", f"index/{name}.parquet"
    index = index_bytes(index_table(rows, shard_path, bucket, record.samples))
    commit = Commit(
        plan_id=plan_id,
        shard_no=shard_no,
        bucket=bucket,
        num_samples=len(rows),
        shard=StoredFile(path=shard_path, size_bytes=record.size_bytes, sha256=record.sha256),
        index=StoredFile(path=index_path, size_bytes=len(index), sha256=hashlib.sha256(index).hexdigest()),
    )
    create_or_same(store, shard_path, tar)
    reached("commit-tar")
    create_or_same(store, index_path, index)
    reached("commit-index")
    refresh(store, [shard_path, index_path])  # an earlier attempt may have left them long ago
    create_or_same(store, commit_path(plan_id, shard_no), commit.model_dump_json(indent=1).encode())
    reached("commit-record")
    return commit


def read_commit(dataset: str | Path | Store, plan_id: str, shard_no: int) -> Commit | None:
    """The completion record of a shard, None if it is not complete: what a rerun skips by."""
    store = open_store(dataset)
    path = commit_path(plan_id, shard_no)
    try:
        data = store.get(path)
    except ObjectMissing:
        return None
    commit = parse_commit(data, path)
    if commit.plan_id != plan_id:
        raise ContractError(f"{path} is of plan {commit.plan_id}; {plan_id} has the same name; use another folder")
    return commit


def list_commits(dataset: str | Path | Store, plan_id: str | None = None) -> list[Commit]:
    """All completion records of a plan, by shard number.

    Args:
        dataset: folder, uri or store of the dataset.
        plan_id: full id or its first digits; None if the dataset has only one plan.

    Raises:
        ConfigError: no plan is named and there are several.
    """
    store = open_store(dataset)
    folder = f"commits/{(plan_id or '')[:PLAN_DIGITS]}"
    paths = [item.path for item in store.list("commits") if is_commit(item.path) and item.path.startswith(folder)]
    found = [parse_commit(store.get(path), path) for path in paths]
    plans = sorted({commit.plan_id for commit in found if commit.plan_id.startswith(plan_id or "")})
    if len(plans) > 1:
        raise ConfigError(f"plan is {plan_id!r}; {store.uri} has {', '.join(plans)}; name one of them")
    return sorted((commit for commit in found if commit.plan_id in plans), key=lambda commit: commit.shard_no)


def is_commit(path: str) -> bool:
    """Whether an object's name is that of a completion record."""
    return re.fullmatch(rf"commits/[0-9a-f]{{{PLAN_DIGITS}}}/[0-9]{{6,}}\.json", path) is not None


def parse_commit(data: bytes, path: str) -> Commit:
    """A completion record from its bytes.

    Raises:
        ContractError: it is none.
    """
    try:
        return Commit.model_validate_json(data)
    except ValidationError as error:
        raise ContractError(
            f"{path} is no completion record; {error.errors()[0]['msg']}; restore or remove it"
        ) from error


@contextmanager
def _building(scratch: Path) -> Iterator[Path]:
    """A folder of its own; what cannot be removed from a broken disk must not hide the error that matters."""
    with local_writing(scratch):
        folder = Path(tempfile.mkdtemp(dir=scratch, prefix="shard-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _samples(rows: Sequence[Mapping[str, Any]], members: Sequence[Mapping[str, bytes | Path]]) -> list[SampleBytes]:
    if len(rows) != len(members):
        raise ContractError(f"members are {len(members)}; one for each of {len(rows)} rows is needed; fix the packer")
    return [
        SampleBytes(row["key"], {"json": sample_json(row), "txt": sample_text(row), **files})
        for row, files in zip(rows, members, strict=True)
    ]
