"""Storage that is far away, for tests: counts and waits as told, over a local folder."""

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from shards.storage.objects import cut
from shards.storage.store import LocalFolder, StoredObject


class Remote:
    """A store that is no LocalFolder.

    Attributes:
        reads: ranged reads so far, by object.
        delay_s: of each ranged read.
    """

    def __init__(self, root: Path) -> None:
        self.folder, self.uri = LocalFolder(root), f"far://{root}"
        self.reads: Counter[str] = Counter()
        self.delay_s = 0.0

    def __reduce__(self) -> tuple[type, tuple[Path]]:
        return Remote, (self.folder.root,)

    def create(self, path: str, data: bytes | Path) -> bool:
        return self.folder.create(path, data)

    def replace(self, path: str, data: bytes) -> None:
        self.folder.replace(path, data)

    def get(self, path: str) -> bytes:
        return self.folder.get(path)

    def get_range(self, path: str, offset: int, size: int) -> bytes:
        self.reads[path] += 1
        time.sleep(self.delay_s)
        return self.folder.get_range(path, offset, size)

    def get_parts(self, path: str, offset: int, sizes: Sequence[int]) -> "list[bytes]":
        return cut(self.get_range(path, offset, sum(sizes)), sizes)

    def list(self, prefix: str = "") -> list[StoredObject]:
        return self.folder.list(prefix)
