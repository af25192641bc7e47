"""How old the objects of a dataset are, and removing them: for garbage collection, and for those who fear it."""

import os
import time
from collections.abc import Iterable
from contextlib import suppress

from shards.errors import ConfigError, StoreError
from shards.storage.store import LocalFolder, ObjectMissing, ObjectStore, Store


def written_at_s(store: Store) -> dict[str, float]:
    """When each object was last written or refreshed, seconds since 1970, by path.

    On a disk this is the change time of the inode, which no copy or link can set back.
    """
    if isinstance(store, LocalFolder):
        return {item.path: _changed_s(store, item.path) for item in store.list()}
    if isinstance(store, ObjectStore):
        return store.written_at_s()
    raise _unknown(store)


def refresh(store: Store, paths: Iterable[str]) -> None:
    """Make objects young, so that a garbage collection that runs meanwhile leaves them; a disk only.

    Object stores cannot do that without writing the object again; there the age since writing counts.

    Raises:
        ObjectMissing: one is gone.
    """
    if not isinstance(store, LocalFolder):
        return
    for path in paths:
        file = store.local_path(path)
        try:
            times = file.stat()
            os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))  # changes nothing but the change time
        except FileNotFoundError as error:
            raise ObjectMissing(
                f"{path} is missing in {store.uri}; a garbage collection took it; rerun what made it"
            ) from error
        except PermissionError:
            continue  # files of another owner are published all the same; the collection asks for their age


def remove_if_older(store: Store, path: str, before_s: float) -> bool:
    """Remove an object unless it was written or refreshed since; True if it is gone.

    Args:
        store: of the dataset.
        path: of the object.
        before_s: seconds since 1970.

    Raises:
        StoreError: storage failed.
    """
    if isinstance(store, LocalFolder):
        with suppress(FileNotFoundError):
            if _changed_s(store, path) >= before_s:
                return False
            try:
                store.local_path(path).unlink()
            except PermissionError as error:
                raise StoreError(
                    f"removing {path} in {store.uri} failed; {error}; fix permissions, then rerun"
                ) from error
        return True
    if isinstance(store, ObjectStore):
        return store.remove_if_older(path, before_s)
    raise _unknown(store)


def _changed_s(store: LocalFolder, path: str) -> float:
    """Change time of a file, of the link itself if it is one; now if it has just gone."""
    try:
        return store.local_path(path).lstat().st_ctime
    except FileNotFoundError:
        return time.time()


def _unknown(store: Store) -> ConfigError:
    return ConfigError(f"store is {type(store).__name__}; a folder or an object store is allowed; name one by its uri")
