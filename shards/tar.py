"""Our own reading of USTAR shards: bounds-checked, nothing is ever extracted, every deviation is an error.

Used before a shard is committed and by `verify`; the trainer's reader goes by the offsets that were found here.
Only what the format promises is accepted: regular files named `<key>.<suffix>`, members of a sample together and in
fixed order, the same members in every sample, two zero blocks at the end and nothing but zeros after them.
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
_MAGIC = b"ustar\x0000"


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


def _members(tar: memoryview) -> Iterator[Member]:
    offset = 0
    while True:
        header = bytes(tar[offset : offset + BLOCK])
        if len(header) < BLOCK:
            raise _broken(offset, "the file ends where a header or the end mark belongs")
        if not any(header):
            break
        name, size = _read_header(header, offset)
        start = offset + BLOCK
        end = start + -(-size // BLOCK) * BLOCK
        if end > len(tar):
            raise _broken(offset, f"{name} has {size} bytes, the file only {len(tar) - start} more")
        if any(tar[start + size : end]):
            raise _broken(offset, f"the padding after {name} is not zero")
        key, _, suffix = name.partition(".")
        yield Member(key, suffix, start, size)
        offset = end
    if len(tar) - offset < 2 * BLOCK or len(tar) % BLOCK or any(tar[offset:]):
        raise _broken(offset, "the end is not at least two blocks of zeros")


def _read_header(header: bytes, offset: int) -> tuple[str, int]:
    if header[257:265] != _MAGIC:
        raise _broken(offset, f"the magic is {header[257:265]!r}, not USTAR")
    if header[148:156] != b"%06o\0 " % (sum(header[:148]) + 8 * ord(" ") + sum(header[156:])):
        raise _broken(offset, "the header's checksum is wrong")
    if header[156:157] != b"0" or any(header[157:257]) or any(header[345:500]):
        raise _broken(offset, "the member is no regular file with a short name")
    name = header[:100].rstrip(b"\0").decode("ascii", "backslashreplace")
    key, _, suffix = name.partition(".")
    if not KEY.fullmatch(key) or suffix not in SUFFIXES:
        raise _broken(offset, f"the name is {name!r}, not <key>.<{'|'.join(SUFFIXES)}>")
    return name, _octal(header[124:136], offset)


def _octal(field: bytes, offset: int) -> int:
    digits = field.strip(b" \0")
    if not digits or any(byte not in b"01234567" for byte in digits):
        raise _broken(offset, f"a number is {field!r}, not octal digits")
    return int(digits, 8)


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
