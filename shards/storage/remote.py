"""Object stores: how they are asked, how long they are waited for, and how often they are asked again.

obstore repeats requests that are safe to repeat (reads, and what is answered by 429 or 5xx). A creation whose answer
was lost is not safe by itself: `ObjectStore.create` repeats it and compares what it finds.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field

from shards.config import Config, parse_config
from shards.errors import ConfigError, StoreError
from shards.storage.objects import ObjectMissing, StoredObject, cut, holds

T = TypeVar("T")
PREFIX = "REELMILL_STORE_"
_LOCAL_SCHEMES = ("memory", "file")


class RemoteConfig(Config):
    """Patience with an object store; REELMILL_STORE_<FIELD> in the environment sets a field."""

    connect_timeout_s: float = Field(default=5, gt=0, description="For a connection.")
    read_timeout_s: float = Field(default=30, gt=0, description="Longest silence within an answer.")
    timeout_s: float = Field(default=300, gt=0, description="One request with its whole body, however slowly it comes.")
    max_retries: int = Field(default=10, ge=0, description="Repetitions of one request.")
    deadline_s: float = Field(default=180, gt=0, description="After so long nothing is repeated any more.")
    first_wait_s: float = Field(default=0.1, gt=0, description="Before the first repetition; doubles.")
    longest_wait_s: float = Field(default=15, gt=0, description="Before any repetition.")

    @classmethod
    def from_environment(cls) -> "RemoteConfig":
        """The defaults, and what the environment says.

        Raises:
            ConfigError: a value is not allowed.
        """
        names = {name: f"{PREFIX}{name.upper()}" for name in cls.model_fields}
        values = {name: os.environ[variable] for name, variable in names.items() if variable in os.environ}
        return parse_config(cls, values, f"environment {PREFIX}*")

    def attempts(self) -> Iterator[int]:
        """Numbers of attempts from 0, with the waits between them; ends when patience does."""
        started = time.monotonic()
        for number in range(self.max_retries + 1):
            if number:
                time.sleep(min(self.first_wait_s * 2 ** (number - 1), self.longest_wait_s))
            if number and time.monotonic() - started > self.deadline_s:
                return
            yield number


def open_remote(uri: str, config: RemoteConfig) -> Any:
    """The obstore store of a uri; endpoint and credentials come from the environment (AWS_…, GOOGLE_…, AZURE_…).

    Raises:
        ConfigError: the uri names no kind of store, or the environment lacks what its kind needs.
    """
    from obstore.exceptions import BaseError
    from obstore.store import from_url

    if uri.partition(":")[0] in _LOCAL_SCHEMES:
        return from_url(uri)
    backoff = {
        "init_backoff": timedelta(seconds=config.first_wait_s),
        "max_backoff": timedelta(seconds=config.longest_wait_s),
        "base": 2,
    }
    client: dict[str, Any] = {
        "connect_timeout": timedelta(seconds=config.connect_timeout_s),
        "read_timeout": timedelta(seconds=config.read_timeout_s),
        "timeout": timedelta(seconds=config.timeout_s),
        # obstore reads this one from the environment only where no options are given.
        "allow_http": os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("1", "true"),
    }
    retry: dict[str, Any] = {
        "max_retries": config.max_retries,
        "retry_timeout": timedelta(seconds=config.deadline_s),
        "backoff": backoff,
    }
    try:
        return from_url(uri, client_options=client, retry_config=retry)  # pyright: ignore[reportArgumentType, reportCallIssue]
    except BaseError as error:
        raise ConfigError(
            f"store is {uri}; s3://bucket/folder, gs://…, az://… or a folder is allowed; {_first_line(error)}; correct "
            f"the uri, or the variables that say where it is"
        ) from error


class ObjectStore:
    """An object store that refuses to overwrite on request (S3, GCS, Azure), through obstore.

    Args:
        store: of obstore.
        uri: for messages.
        config: how often a creation is tried again; the store itself has its own patience with the rest.
    """

    def __init__(self, store: Any, uri: str, config: RemoteConfig | None = None) -> None:
        self.store = store
        self.uri = uri.rstrip("/")
        self.config = config or RemoteConfig()

    def create(self, path: str, data: bytes | Path) -> bool:
        """See Store. One PUT, so that the condition covers the whole object; stores cap that at 5 GiB.

        A PUT whose answer is lost may have made the object. It is repeated; where the object then exists with these
        bytes, this call counts as the one that made it: nobody can tell, and nobody need.
        """
        return self._put(path, data, "create") or holds(self, path, data)

    def replace(self, path: str, data: bytes) -> None:
        """See Store."""
        self._put(path, data, "overwrite")

    def get(self, path: str) -> bytes:
        """See Store."""
        import obstore

        with self._failing("reading", path):
            return bytes(obstore.get(self.store, path).bytes())

    def get_range(self, path: str, offset: int, size: int) -> bytes:
        """See Store. An answer that is too short is asked for again, unless the object does end there."""
        import obstore

        data = b""
        if not size:
            return data
        for _ in self.config.attempts():
            try:
                data = bytes(obstore.get_range(self.store, path, start=offset, length=size))
            except Exception as error:
                if "416" not in str(error) or self._size(path) > offset:  # 416: it begins behind the end
                    raise self._failure("reading", path, error) from error
            if len(data) == size or self._size(path) <= offset + len(data):
                return data
        raise StoreError(
            f"reading {path} in {self.uri} gave {len(data)} bytes of {size} again and again; the object has them; "
            f"check the network and what lies between"
        )

    def get_parts(self, path: str, offset: int, sizes: Sequence[int]) -> "list[bytes]":
        """See Store."""
        return cut(self.get_range(path, offset, sum(sizes)), sizes)

    def list(self, prefix: str = "") -> "list[StoredObject]":  # the name is taken by the method
        """See Store."""
        return sorted((StoredObject(meta["path"], meta["size"]) for meta in self._metas(prefix)), key=_path_of)

    def written_at_s(self) -> dict[str, float]:
        """When each object was written, seconds since 1970 by the store's clock, by path."""
        return {meta["path"]: meta["last_modified"].timestamp() for meta in self._metas("")}

    def remove_if_older(self, path: str, before_s: float) -> bool:
        """Remove an object unless it was written since (seconds since 1970); True if it is gone."""
        import obstore

        try:
            written = self._repeatedly("removing", path, lambda: obstore.head(self.store, path)["last_modified"])
            if written.timestamp() >= before_s:
                return False
            self._repeatedly("removing", path, lambda: obstore.delete(self.store, path))
        except ObjectMissing:
            pass
        return True

    def _metas(self, prefix: str) -> "list[Any]":
        """What the store says of every object. obstore does not repeat a listing whose answer breaks off."""
        import obstore

        def pages() -> Any:
            return [meta for batch in obstore.list(self.store, prefix or None) for meta in batch]

        return self._repeatedly("listing", prefix or "everything", pages)

    def _put(self, path: str, data: bytes | Path, mode: Literal["create", "overwrite"]) -> bool:
        """False if the object exists and must not be overwritten."""
        import obstore
        from obstore.exceptions import AlreadyExistsError

        try:
            self._repeatedly(
                "writing", path, lambda: obstore.put(self.store, path, data, mode=mode, use_multipart=False)
            )
        except AlreadyExistsError:
            return False
        return True

    def _repeatedly(self, doing: str, path: str, ask: Callable[[], T]) -> T:
        from obstore.exceptions import AlreadyExistsError

        failure: Exception | None = None
        for _ in self.config.attempts():
            try:
                return ask()
            except AlreadyExistsError:
                raise
            except Exception as error:
                failure = error
                if _is_final(error):
                    break
        assert failure is not None
        raise self._failure(doing, path, failure) from failure

    def _size(self, path: str) -> int:
        import obstore

        with self._failing("reading", path):
            return obstore.head(self.store, path)["size"]

    @contextmanager
    def _failing(self, doing: str, path: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            raise self._failure(doing, path, error) from error

    def _failure(self, doing: str, path: str, error: Exception) -> StoreError:
        if isinstance(error, FileNotFoundError):
            return ObjectMissing(f"{path} is missing in {self.uri}; the manifest names it; restore or republish")
        return StoreError(
            f"{doing} {path} in {self.uri} failed; {_first_line(error)}; check network, credentials and space"
        )


def _path_of(item: StoredObject) -> str:
    return item.path


def _first_line(error: Exception) -> str:
    """obstore's messages go on with what Rust knows of them."""
    return str(error).partition("\n")[0]


def _is_final(error: Exception) -> bool:
    """Whether another attempt cannot do better."""
    from obstore import exceptions

    kinds = ("PermissionDeniedError", "UnauthenticatedError", "InvalidPathError", "NotSupportedError")
    return isinstance(error, (FileNotFoundError, ValueError, *(getattr(exceptions, kind) for kind in kinds)))
