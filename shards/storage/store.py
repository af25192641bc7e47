"""Where a dataset lies: a local folder or an object store, behind six verbs.

Objects are created once and never changed; `create` of a name that exists does nothing and says so, which is what makes
zombie writers and second drivers harmless. The few files that are only hints are written by `replace`.
On a local disk an object is durable before its name appears: write beside, fsync, link, fsync the folder.
"""

import errno
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from io import FileIO
from pathlib import Path, PurePosixPath

from shards.errors import ContractError, StoreError
from shards.faults import reached
from shards.storage.objects import ObjectMissing, Store, StoredObject, holds
from shards.storage.remote import ObjectStore, RemoteConfig, open_remote

__all__ = [
    "LocalFolder",
    "ObjectMissing",
    "ObjectStore",
    "Store",
    "StoredObject",
    "create_or_same",
    "is_leftover",
    "local_writing",
    "open_store",
]


def open_store(uri: str | Path | Store) -> Store:
    """The store of a local path, a `file://`, `s3://`, `gs://`, … uri, or of a store itself."""
    if not isinstance(uri, str | Path):
        return uri
    text = str(uri)
    if text.startswith("file://"):
        return LocalFolder(Path(text.removeprefix("file://")))
    if "://" in text:
        remote = RemoteConfig.from_environment()
        return ObjectStore(open_remote(text, remote), text, remote)
    return LocalFolder(Path(text))


def create_or_same(store: Store, path: str, data: bytes | Path) -> None:
    """Create an object; one that exists must have the same bytes.

    Raises:
        ContractError: the name exists with other bytes.
    """
    if store.create(path, data):
        return
    if not holds(store, path, data):
        raise ContractError(
            f"{path} in {store.uri} has other bytes than this run made; an object never changes; "
            f"find the stage that is not deterministic, or remove the object if no commit names it"
        )


def is_leftover(path: str) -> bool:
    """Whether a file's name is one under which a local writer prepares an object: what a killed one leaves."""
    return re.fullmatch(r"\..+\.[0-9a-f]{32}\.tmp", PurePosixPath(path).name) is not None


@contextmanager
def local_writing(target: Path) -> Iterator[None]:
    """What a full disk or a lost permission becomes while a local file is written: a StoreError."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"writing {target} failed; {error}; free space or fix permissions, then rerun") from error


class LocalFolder:
    """A folder on a local disk."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.uri = str(self.root)

    def local_path(self, path: str) -> Path:
        """Where an object lies.

        Raises:
            ContractError: the name leads out of the folder.
        """
        return self.root / _checked(path)

    def create(self, path: str, data: bytes | Path) -> bool:
        """See Store. A file on the same disk is linked, not copied."""
        target = self.local_path(path)
        with self._writing(target) as beside:
            if target.exists():
                return False
            reached("object-begun")
            _put_beside(beside, data)
            reached("object-beside")
            try:
                os.link(beside, target)
            except FileExistsError:
                return False
            reached("object-named")
        reached("object-durable")
        return True

    def replace(self, path: str, data: bytes) -> None:
        """See Store."""
        target = self.local_path(path)
        with self._writing(target) as beside:
            _put_beside(beside, data)
            reached("hint-beside")
            os.replace(beside, target)
            reached("hint-named")

    def get(self, path: str) -> bytes:
        """See Store."""
        with self._reading(path) as file:
            return file.read()

    def get_range(self, path: str, offset: int, size: int) -> bytes:
        """See Store."""
        return self.get_parts(path, offset, (size,))[0]

    def get_parts(self, path: str, offset: int, sizes: Sequence[int]) -> list[bytes]:
        """See Store. Each part is read into its own place: copying a part costs more than the call."""
        parts = []
        try:  # every sample of a local loader passes here: no Path, no file object
            descriptor = os.open(f"{self.uri}/{_checked(path)}", os.O_RDONLY | os.O_CLOEXEC)
            try:
                for size in sizes:
                    parts.append(os.pread(descriptor, size, offset))
                    offset += size
            finally:
                os.close(descriptor)
        except OSError as error:
            raise self._unread(path, error) from error
        return parts

    def list(self, prefix: str = "") -> "list[StoredObject]":  # the name is taken by the method
        """See Store. Hidden files and links are listed too: `verify` wants to see them."""
        folder = self.local_path(prefix) if prefix else self.root
        files = (Path(parent) / name for parent, _, names in os.walk(folder) for name in names)
        found = []
        for file in files:
            with suppress(FileNotFoundError):  # a writer's temporary name, gone meanwhile
                found.append(StoredObject(file.relative_to(self.root).as_posix(), file.lstat().st_size))
        return sorted(found, key=lambda item: item.path)

    @contextmanager
    def _reading(self, path: str) -> Iterator[FileIO]:
        """The open file; what a disk refuses, now or while it is read, is a StoreError."""
        try:
            with self.local_path(path).open("rb", buffering=0) as file:
                yield file
        except OSError as error:
            raise self._unread(path, error) from error

    def _unread(self, path: str, error: OSError) -> StoreError:
        if isinstance(error, FileNotFoundError):
            return ObjectMissing(f"{path} is missing in {self.uri}; the manifest names it; restore or republish")
        return StoreError(f"reading {path} in {self.uri} failed; {error}; fix the disk or permissions")

    @contextmanager
    def _writing(self, target: Path) -> Iterator[Path]:
        """A name beside the target, in a folder that exists; afterwards the folder is durable and the name is gone."""
        beside = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
        try:
            with local_writing(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                yield beside
                self._sync_folders(target.parent)
        finally:
            with suppress(OSError):  # what cannot be removed from a broken disk must not hide the error that matters
                beside.unlink()

    def _sync_folders(self, folder: Path) -> None:
        """New names survive a power cut once their folder, and those that were made for it, are synced."""
        while True:
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            if folder == self.root or self.root not in folder.parents:
                return
            folder = folder.parent


@lru_cache(maxsize=1 << 16)
def _checked(path: str) -> str:
    """The name of an object of a folder.

    Raises:
        ContractError: the name leads out of the folder.
    """
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts:
        raise ContractError(f"object name is {path!r}; a relative path without '..' is allowed; fix the manifest")
    return path


def _put_beside(beside: Path, data: bytes | Path) -> None:
    """The bytes, durable, under a name that no reader looks for."""
    if isinstance(data, bytes):
        beside.write_bytes(data)
    else:
        try:
            os.link(data, beside)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK):
                raise
            shutil.copyfile(data, beside)
    with beside.open("rb") as file:
        os.fsync(file.fileno())
