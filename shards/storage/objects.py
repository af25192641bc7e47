"""What the contract needs of storage: objects that are created once, behind six verbs."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Protocol

from shards.errors import StoreError

_PIECE_BYTES = 8 << 20


class ObjectMissing(StoreError):
    """No object has this name."""


@dataclass(frozen=True)
class StoredObject:
    """Name, relative to the store, and size of an object."""

    path: str
    size_bytes: int


class Store(Protocol):
    """What the contract needs of storage. Paths are relative, with forward slashes."""

    uri: str

    def create(self, path: str, data: bytes | Path) -> bool:
        """Create an object unless its name exists; True if this call made it. A Path must not change afterwards."""
        ...

    def replace(self, path: str, data: bytes) -> None:
        """Write a hint: readers see the old or the new bytes, never a mixture."""
        ...

    def get(self, path: str) -> bytes:
        """All bytes of an object, or ObjectMissing."""
        ...

    def get_range(self, path: str, offset: int, size: int) -> bytes:
        """Bytes [offset, offset + size) of an object, fewer if it ends before."""
        ...

    def get_parts(self, path: str, offset: int, sizes: Sequence[int]) -> list[bytes]:
        """Parts of these sizes, one after the other from an offset on, by one request; short where the object ends."""
        ...

    def list(self, prefix: str = "") -> "list[StoredObject]":
        """All objects below a folder, sorted by path."""
        ...


def cut(data: bytes, sizes: Sequence[int]) -> list[bytes]:
    """Parts of these sizes, one after the other; the last are short if the bytes end before."""
    return [data[end - size : end] for size, end in zip(sizes, accumulate(sizes), strict=True)]


def holds(store: Store, path: str, data: bytes | Path) -> bool:
    """Whether an object that exists has exactly these bytes; a file is compared piece by piece.

    Raises:
        ObjectMissing: it does not exist.
    """
    if isinstance(data, bytes):
        return store.get(path) == data
    offset = 0
    with data.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            if store.get_range(path, offset, len(piece)) != piece:
                return False
            offset += len(piece)
    return store.get_range(path, offset, 1) == b""
