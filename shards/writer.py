"""Building one shard: a USTAR tar that any WebDataset reader opens, the same bytes for the same samples.

The standard library's tarfile writes it (webdataset's writer ignores its format option and pulls in torch); our own
parser reads it back before anything is committed.
"""

import hashlib
import io
import mmap
import os
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import xxhash

from shards.errors import ContractError
from shards.faults import reached
from shards.npy import npy_kind
from shards.tar import Member, check_key, check_members, parse_tar


@dataclass(frozen=True)
class SampleBytes:
    """What goes into a shard for one key: bytes or a file for every member; all samples have the same members."""

    key: str
    members: Mapping[str, bytes | Path]


@dataclass(frozen=True)
class MemberRecord:
    """Where a member lies in its shard, its checksum, and for an array what it is."""

    offset: int
    size: int
    xxh3: int
    dtype: str | None = None
    shape: tuple[int, ...] | None = None


@dataclass(frozen=True)
class ShardRecord:
    """A written shard.

    Attributes:
        size_bytes: of the tar.
        sha256: of the tar.
        samples: in order, key and the record of each suffix.
    """

    size_bytes: int
    sha256: str
    samples: list[tuple[str, dict[str, MemberRecord]]]


def write_shard(path: Path, samples: Iterable[SampleBytes]) -> ShardRecord:
    """Write a tar, sync it to disk and read it back.

    Raises:
        ContractError: a key or member is not allowed, members differ between samples, there is no sample, or what lies
            on disk is not what was written.
    """
    written: list[tuple[str, dict[str, int]]] = []
    members: tuple[str, ...] = ()
    with path.open("wb") as file:
        reached("shard-begun")
        with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT, encoding="ascii") as tar:
            for sample in samples:
                members = members or check_members(sample.members)
                if set(sample.members) != set(members):
                    raise ContractError(
                        f"sample {sample.key} has members {sorted(sample.members)}; {members} are in this shard; "
                        f"give every sample the same"
                    )
                written.append((check_key(sample.key), _add(tar, sample, members)))
        file.flush()
        reached("shard-written")
        os.fsync(file.fileno())
        reached("shard-synced")
    if not written:
        raise ContractError("shard has 0 samples; at least one is needed; do not plan empty shards")
    return _read_back(path, written)


def _add(tar: tarfile.TarFile, sample: SampleBytes, members: Iterable[str]) -> dict[str, int]:
    """Append the members of a sample; gives the xxh3 of each."""
    hashes = {}
    for suffix in members:
        source = sample.members[suffix]
        data = source.read_bytes() if isinstance(source, Path) else source
        hashes[suffix] = xxhash.xxh3_64_intdigest(data)
        tar.addfile(_tar_info(f"{sample.key}.{suffix}", len(data)), io.BytesIO(data))
        reached("shard-member")
    return hashes


def _tar_info(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)  # owner, group and time are 0 by default
    info.size, info.mode = size, 0o644
    return info


def read_shard(path: Path) -> ShardRecord:
    """What a tar on disk holds.

    Raises:
        ContractError: it is not as the format wants it.
    """
    with path.open("rb") as file:
        tar = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))  # unmapped with its last slice
    samples = group_samples(tar, parse_tar(tar))
    return ShardRecord(len(tar), hashlib.sha256(tar).hexdigest(), samples)


def _read_back(path: Path, written: list[tuple[str, dict[str, int]]]) -> ShardRecord:
    record = read_shard(path)
    found = [(key, {suffix: part.xxh3 for suffix, part in records.items()}) for key, records in record.samples]
    if found != written:
        raise ContractError(f"shard {path} reads back other members than were written; check the disk, then rerun")
    reached("shard-read")
    return record


def group_samples(tar: memoryview, members: Iterable[Member]) -> list[tuple[str, dict[str, MemberRecord]]]:
    """Members by sample, in order, with their checksums.

    Raises:
        ContractError: an array is not as the format wants it.
    """
    samples: dict[str, dict[str, MemberRecord]] = {}
    for member in members:
        data = tar[member.offset : member.offset + member.size]
        record = MemberRecord(member.offset, member.size, xxhash.xxh3_64_intdigest(data))
        if member.suffix.endswith(".npy"):
            dtype, shape = npy_kind(data)
            record = replace(record, dtype=dtype.str, shape=shape)
        samples.setdefault(member.key, {})[member.suffix] = record
    return list(samples.items())
