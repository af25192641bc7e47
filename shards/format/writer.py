"""Building one shard: a USTAR tar that any WebDataset reader opens, the same bytes for the same samples.

Our own parser reads it back before anything is committed.
"""

import hashlib
import mmap
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import xxhash

from shards.errors import ContractError
from shards.faults import reached
from shards.format.npy import npy_kind
from shards.format.tar import BLOCK, Member, check_key, check_members, parse_tar, tar_end, tar_header, tar_padding

_PIECE = 1 << 16  # bytes hashed at once: fits the cache that a core has of its own
_WRITE_BYTES, _WRITE_PARTS = 1 << 20, 1000  # gathered for one system call, which takes 1,024 parts at most


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
    with path.open("wb", buffering=0) as file:
        reached("shard-begun")
        sink = _Sink(file.fileno())
        for sample in samples:
            members = members or check_members(sample.members)
            if set(sample.members) != set(members):
                raise ContractError(
                    f"sample {sample.key} has members {sorted(sample.members)}; {members} are in this shard; "
                    f"give every sample the same"
                )
            key = check_key(sample.key)
            written.append((key, {suffix: sink.add(f"{key}.{suffix}", sample.members[suffix]) for suffix in members}))
        sink.end()
        reached("shard-written")
        os.fsync(file.fileno())
        reached("shard-synced")
    if not written:
        raise ContractError("shard has 0 samples; at least one is needed; do not plan empty shards")
    return _read_back(path, written)


class _Sink:
    """Appends members to a file. One buffer serves all files that are read: fresh memory costs more than the copy."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.size_bytes = 0
        self._pending_bytes = 0
        self._parts: list[bytes | memoryview] = []
        self._buffer = bytearray(1 << 20)

    def add(self, name: str, source: bytes | Path) -> int:
        """Append a member; gives the xxh3 of its bytes."""
        if self._pending_bytes >= _WRITE_BYTES or len(self._parts) >= _WRITE_PARTS:
            self.flush()
        data = self._read(source) if isinstance(source, Path) else source
        size, padding = len(data), tar_padding(len(data))
        self._parts += (tar_header(name, size), data, padding)
        self._pending_bytes += BLOCK + size + len(padding)
        return xxhash.xxh3_64_intdigest(data)

    def end(self) -> None:
        """Append the end mark."""
        end = tar_end(self.size_bytes + self._pending_bytes)
        self._parts.append(end)
        self._pending_bytes += len(end)
        self.flush()

    def flush(self) -> None:
        """Write what was appended."""
        parts, self._parts = self._parts, []
        size, self._pending_bytes = self._pending_bytes, 0
        count = os.writev(self.descriptor, parts) if parts else 0
        if count < size:  # a nearly full disk takes a part; the next call says why
            rest = memoryview(b"".join(parts))[count:]
            while rest:
                rest = rest[os.write(self.descriptor, rest) :]
        self.size_bytes += size
        reached("shard-member")

    def _read(self, source: Path) -> memoryview:
        self.flush()  # the buffer may hold what is not written yet
        descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(descriptor).st_size
            if size > len(self._buffer):
                self._buffer = bytearray(size)
            view = memoryview(self._buffer)[:size]
            filled = 0
            while filled < size and (count := os.readv(descriptor, [view[filled:]])):
                filled += count
        finally:
            os.close(descriptor)
        return view[:filled]


def read_shard(path: Path) -> ShardRecord:
    """What a tar on disk holds.

    Raises:
        ContractError: it is not as the format wants it.
    """
    tar = mapped(path)
    hashed = hashlib.sha256()
    samples = group_samples(tar, parse_tar(tar), hashed.update)
    return ShardRecord(len(tar), hashed.hexdigest(), samples)


def _read_back(path: Path, written: list[tuple[str, dict[str, int]]]) -> ShardRecord:
    record = read_shard(path)
    found = [(key, {suffix: part.xxh3 for suffix, part in records.items()}) for key, records in record.samples]
    if found != written:
        raise ContractError(f"shard {path} reads back other members than were written; check the disk, then rerun")
    reached("shard-read")
    return record


def mapped(path: Path) -> memoryview:
    """A file's bytes, mapped at once where the system can (a fault for every page costs as much as its checksum)."""
    flags = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)
    if not path.stat().st_size:
        return memoryview(b"")
    with path.open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, flags=flags, prot=mmap.PROT_READ))  # unmapped with its last slice


def group_samples(
    tar: memoryview, members: Iterable[Member], passed: Callable[[memoryview], object] | None = None
) -> list[tuple[str, dict[str, MemberRecord]]]:
    """Members by sample, in order, with their checksums.

    Args:
        tar: the whole file.
        members: all of it, in order.
        passed: is given the file's bytes piece by piece, while they are in the processor's cache anyway.

    Raises:
        ContractError: an array is not as the format wants it.
    """
    samples: dict[str, dict[str, MemberRecord]] = {}
    done = 0
    for member in members:
        end = member.offset + member.size
        data = tar[member.offset : end]
        kind = npy_kind(data) if member.suffix.endswith(".npy") else None
        dtype, shape = (kind[0].str, kind[1]) if kind else (None, None)
        record = MemberRecord(member.offset, member.size, xxhash.xxh3_64_intdigest(data), dtype, shape)
        samples.setdefault(member.key, {})[member.suffix] = record
        if passed and end - done >= _PIECE:
            passed(tar[done:end])
            done = end
    if passed:
        passed(tar[done:])
    return list(samples.items())
