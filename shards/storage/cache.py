"""Whole objects of a remote dataset on a local disk: fetched once per machine, checked by sha256, oldest leave first.

Processes share a folder without talking to each other: an object is named by its content, written beside and renamed,
fetched under a lock of its own; a file that leaves while another process reads it stays readable until it is closed.
"""

import fcntl
import hashlib
import logging
import os
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO

from shards.errors import ConfigError, ContractError, StoreError
from shards.format.commit import StoredFile
from shards.reading.config import CacheConfig
from shards.storage.store import Store, StoredObject

log = logging.getLogger(__name__)

PIECE_BYTES = 8 << 20  # what one request fetches: bounds memory, and what a failure costs
_TOUCH_S = 30.0  # how exact "used last" is
_OLD_PART_S = 3600.0  # a part that was not written to for so long is of a killed process


class CachedStore:
    """A store whose known objects are read from a local folder.

    Args:
        store: the remote one.
        config: folder and limit.
    """

    def __init__(self, store: Store, config: CacheConfig) -> None:
        self.store, self.config, self.uri = store, config, store.uri
        self.folder = Path(config.dir).absolute()
        self._files: dict[str, StoredFile] = {}
        self._touched: dict[Path, float] = {}
        self._damaged: set[str] = set()

    def __reduce__(self) -> tuple[Any, ...]:
        return CachedStore, (self.store, self.config)

    def know(self, files: Iterable[StoredFile]) -> None:
        """Objects that may be kept: those that a manifest names by checksum.

        Raises:
            ConfigError: one is larger than the cache.
        """
        self._files |= {file.path: file for file in files}
        largest = max(self._files.values(), key=lambda file: file.size_bytes, default=None)
        if largest is not None and largest.size_bytes > self.config.limit_bytes:
            raise ConfigError(
                f"reading.cache.limit_bytes is {self.config.limit_bytes}; {largest.path} alone has "
                f"{largest.size_bytes}; raise the limit or set reading.cache to null"
            )

    def create(self, path: str, data: bytes | Path) -> bool:
        """See Store."""
        return self.store.create(path, data)

    def replace(self, path: str, data: bytes) -> None:
        """See Store."""
        self.store.replace(path, data)

    def get(self, path: str) -> bytes:
        """See Store."""
        return self.store.get(path)

    def get_range(self, path: str, offset: int, size: int) -> bytes:
        """See Store. An object that is known is fetched whole."""
        return self.get_parts(path, offset, [size])[0]

    def get_parts(self, path: str, offset: int, sizes: Sequence[int]) -> "list[bytes]":
        """See Store. An object that is known is fetched whole."""
        file = None if path in self._damaged else self._files.get(path)
        if file is not None:
            try:
                with self.opened(file) as copy:
                    starts = accumulate(sizes, initial=offset)
                    return [os.pread(copy.fileno(), size, start) for size, start in zip(sizes, starts, strict=False)]
            except ContractError as error:
                log.warning("%s; its members are read one by one", error)
                self._damaged.add(path)
        return self.store.get_parts(path, offset, sizes)

    def list(self, prefix: str = "") -> "list[StoredObject]":  # the name is taken by the method
        """See Store."""
        return self.store.list(prefix)

    def opened(self, file: StoredFile) -> BinaryIO:
        """The local copy of an object, fetched if it is not there, and readable even if it leaves meanwhile.

        Raises:
            ContractError: it is not what the manifest names.
            StoreError: storage or the local disk failed.
        """
        while True:
            # It may leave in between; there was room for it before and will be again.
            with suppress(FileNotFoundError):
                return self.local_copy(file).open("rb")

    def local_copy(self, file: StoredFile) -> Path:
        """Where an object lies on the local disk, fetched if it is not there.

        Raises:
            ContractError: it is not what the manifest names.
            StoreError: storage or the local disk failed.
        """
        target = self.folder / file.sha256
        if target.exists():
            self._touch(target)
            return target
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with _locked(self.folder / f".{file.sha256}.lock"):
                if not target.exists():
                    self._fetch(file, target)
        except OSError as error:
            raise StoreError(f"cache {self.folder} failed; {error}; free space or fix permissions") from error
        return target

    def opened_copy(self, path: str) -> BinaryIO | None:
        """As `opened`; None for an object that no manifest names."""
        file = self._files.get(path)
        return None if file is None else self.opened(file)

    def forget(self, path: str) -> bool:
        """Drop a local copy that is damaged; True if there was one."""
        file = self._files.get(path)
        with suppress(FileNotFoundError):
            if file is not None:
                (self.folder / file.sha256).unlink()
                return True
        return False

    def _fetch(self, file: StoredFile, target: Path) -> None:
        part = self.folder / f".{file.sha256}.{uuid.uuid4().hex}.part"
        sha256 = hashlib.sha256()
        try:
            with part.open("wb") as sink:
                for offset in range(0, file.size_bytes, PIECE_BYTES):
                    piece = self.store.get_range(file.path, offset, min(PIECE_BYTES, file.size_bytes - offset))
                    sha256.update(piece)
                    sink.write(piece)
            if sha256.hexdigest() != file.sha256:
                raise ContractError(
                    f"{file.path} in {self.uri} has another sha256 than the manifest says; the file is damaged; "
                    f"restore it; see shards verify"
                )
            with _locked(self.folder / ".room.lock"):
                self._make_room(file.size_bytes)
                part.rename(target)
        finally:
            part.unlink(missing_ok=True)

    def _make_room(self, size_bytes: int) -> None:
        """Remove what was not used for longest until so much fits; called under a lock."""
        now = time.time()
        kept: list[tuple[float, int, Path]] = []
        for path in self.folder.iterdir():
            with suppress(FileNotFoundError):
                status = path.stat()
                if path.name.endswith(".part") and now - status.st_mtime > _OLD_PART_S:
                    path.unlink()
                elif not path.name.startswith("."):
                    kept.append((status.st_mtime, status.st_size, path))
        total = sum(size for _, size, _ in kept)
        for _, size, path in sorted(kept):
            if total + size_bytes <= self.config.limit_bytes:
                return
            path.unlink(missing_ok=True)
            total -= size

    def _touch(self, target: Path) -> None:
        now = time.monotonic()
        if now - self._touched.get(target, -_TOUCH_S) >= _TOUCH_S:
            self._touched[target] = now
            with suppress(FileNotFoundError):
                os.utime(target)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Held by one process at a time; the kernel frees it with the process."""
    with path.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
