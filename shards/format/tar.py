"""Our own USTAR: headers to write, and a reading that is bounds-checked, extracts nothing and refuses every deviation.

(tarfile makes the same headers, slowly; webdataset's writer ignores its format option and pulls in torch.)
Read so before a shard is committed and by `verify`; the trainer's reader goes by the offsets that were found here. Only
what the format promises is accepted: regular files named `<key>.<suffix>`, members of a sample together and in fixed
order, the same members in every sample, two zero blocks at the end and nothing but zeros after them.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from shards.errors import ContractError

SUFFIXES = ("json", "mp4", "latent.npy", "text.npy", "txt")  # every member that a sample may have, in order
ALWAYS = ("json", "txt")  # what every sample has
KEY = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
BLOCK = 512
RECORD = 20 * BLOCK  # tars end on a multiple of it, as tar(1) makes them
_MAGIC = b"ustar\x0000"
_ZEROS = bytes(RECORD)
# Behind the name: mode 0644, owner and group 0; behind the size: time 0; behind the checksum: a regular file.
_MODE, _TIME = b"0000644\0" + b"0000000\0" * 2, b"00000000000\0"
_REST = b"0" + bytes(100) + _MAGIC + bytes(247)
_FIXED_SUM = sum(_MODE) + sum(_TIME) + 8 * ord(" ") + sum(_REST)
_NAME = re.compile(rb"(%b)\.(%b)\0+" % (KEY.pattern.encode(), "|".join(map(re.escape, SUFFIXES)).encode()))


@dataclass(frozen=True)
class Member:
    """One file in a shard: its bytes are tar[offset : offset + size]."""

    key: str
    suffix: str
    offset: int
    size: int


def parse_tar(tar: memoryview) -> list[Member]:
    """All members of a shard, in order.

    Args:
        tar: the whole file, usually a memory map.

    Raises:
        ContractError: anything in it that the format does not allow; the message names the offset.
    """
    members = list(_members(tar))
    _check_samples(members)
    return members


def check_key(key: str) -> str:
    """The key itself.

    Raises:
        ContractError: it does not fit the grammar of keys.
    """
    if not KEY.fullmatch(key):
        raise ContractError(
            f"key is {key!r}; 1 to 64 of a-z, 0-9, '_' and '-' are allowed, first a-z or 0-9; change it"
        )
    return key


def check_members(suffixes: Collection[str]) -> tuple[str, ...]:
    """The members of a shard's samples, in the order of the format.

    Raises:
        ContractError: one is unknown or twice, or json, txt or all payload is missing.
    """
    ordered = tuple(suffix for suffix in SUFFIXES if suffix in suffixes)
    if len(ordered) != len(suffixes) or not set(ALWAYS) < set(ordered):
        raise ContractError(
            f"members of a sample are {sorted(suffixes)}; json, txt and one or more of {', '.join(SUFFIXES[1:-1])} "
            f"are allowed; fix the caller"
        )
    return ordered


def tar_header(name: str, size: int) -> bytes:
    """The block before a member's bytes: as tarfile makes it, for a name of at most 100 ASCII characters."""
    name_bytes, size_field = name.encode("ascii"), b"%011o\0" % size
    checksum = b"%06o\0 " % (sum(name_bytes) + sum(size_field) + _FIXED_SUM)
    return b"".join((name_bytes.ljust(100, b"\0"), _MODE, size_field, _TIME, checksum, _REST))


def is_adopted_header(block: bytes, key: str, suffix: str, size: int) -> bool:
    """Whether a block is the header of a member in a tar of another writer, who may state another mode, owner and time.

    In our own tars it is `tar_header`, bit for bit; here the header's checksum decides.
    """
    try:
        return len(block) == BLOCK and _read_header(block, 0) == (key, suffix, size)
    except ContractError:
        return False


def tar_padding(size: int) -> bytes:
    """The zeros behind a member's bytes."""
    return _ZEROS[: -size % BLOCK]


def tar_end(size: int) -> bytes:
    """The zeros behind the last member of a tar of so many bytes: two blocks, and up to a multiple of RECORD."""
    return _ZEROS[: 2 * BLOCK] + _ZEROS[: -(size + 2 * BLOCK) % RECORD]


def _members(tar: memoryview) -> Iterator[Member]:
    offset = 0
    while True:
        header = tar[offset : offset + BLOCK].tobytes()
        if len(header) < BLOCK:
            raise _broken(offset, "the file ends where a header or the end mark belongs")
        if header[0] == 0 and _is_zero(header):
            break
        key, suffix, size = _our_header(header) or _read_header(header, offset)
        start = offset + BLOCK
        padding = -size % BLOCK
        end = start + size + padding
        if end > len(tar):
            raise _broken(offset, f"{key}.{suffix} has {size} bytes, the file only {len(tar) - start} more")
        if tar[start + size : end].tobytes() != _ZEROS[:padding]:
            raise _broken(offset, f"the padding after {key}.{suffix} is not zero")
        yield Member(key, suffix, start, size)
        offset = end
    if len(tar) - offset < 2 * BLOCK or len(tar) % BLOCK or not _is_zero(tar[offset:]):
        raise _broken(offset, "the end is not at least two blocks of zeros")


def _our_header(header: bytes) -> tuple[str, str, int] | None:
    """Key, suffix and size of a header that is as `tar_header` makes it; None: look closer."""
    name = _NAME.fullmatch(header, 0, 100)
    if not name or header[100:124] != _MODE or header[136:148] != _TIME or header[154:] != b"\0 " + _REST:
        return None
    size, checksum = header[124:135], header[148:154]
    if size.strip(b"01234567") or checksum.strip(b"01234567") or header[135]:
        return None
    if int(checksum, 8) != sum(header[: name.end(2)]) + sum(size) + _FIXED_SUM:
        return None
    return name[1].decode(), name[2].decode(), int(size, 8)


def _read_header(header: bytes, offset: int) -> tuple[str, str, int]:
    """Key, suffix and size of a header that another writer made, or that is damaged."""
    _check_header(header, offset)
    name = header[:100].rstrip(b"\0").decode("ascii", "backslashreplace")
    size = _octal(header[124:136], offset)
    key, _, suffix = name.partition(".")
    if not KEY.fullmatch(key) or suffix not in SUFFIXES:
        raise _broken(offset, f"the name is {name!r}, not <key>.<{'|'.join(SUFFIXES)}>")
    return key, suffix, size


def _check_header(header: bytes, offset: int) -> None:
    if header[257:265] != _MAGIC:
        raise _broken(offset, f"the magic is {header[257:265]!r}, not USTAR")
    if header[148:156] != b"%06o\0 " % (sum(header) - sum(header[148:156]) + 8 * ord(" ")):
        raise _broken(offset, "the header's checksum is wrong")
    if header[156:157] != b"0" or not _is_zero(header[157:257]) or not _is_zero(header[345:500]):
        raise _broken(offset, "the member is no regular file with a short name")


def _octal(field: bytes, offset: int) -> int:
    digits = field.strip(b" \0")
    if not digits or digits.strip(b"01234567"):
        raise _broken(offset, f"a number is {field!r}, not octal digits")
    return int(digits, 8)


def _is_zero(data: bytes | memoryview) -> bool:
    if len(data) <= RECORD:
        return bytes(data) == _ZEROS[: len(data)]
    return all(_is_zero(data[at : at + RECORD]) for at in range(0, len(data), RECORD))


def _check_samples(members: Iterable[Member]) -> None:
    seen: set[str] = set()
    allowed: tuple[str, ...] | None = None  # those of the first sample
    for key, group in groupby(members, key=lambda member: member.key):
        items = list(group)
        suffixes = tuple(member.suffix for member in items)
        if allowed is None and not set(ALWAYS) < set(suffixes):
            raise _broken(items[0].offset - BLOCK, f"sample {key} has members {suffixes}, not {ALWAYS} and a payload")
        allowed = allowed or tuple(suffix for suffix in SUFFIXES if suffix in suffixes)
        if suffixes != allowed:
            raise _broken(items[0].offset - BLOCK, f"sample {key} has members {suffixes}, not {allowed}")
        if key in seen:
            raise _broken(items[0].offset - BLOCK, f"key {key} occurs twice")
        seen.add(key)


def _broken(offset: int, what: str) -> ContractError:
    return ContractError(f"tar is broken at byte {offset}; {what}; restore the shard or rebuild it")
