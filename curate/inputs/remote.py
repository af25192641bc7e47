"""Remote inputs behind one interface: what an object is now, and its bytes from an offset on if it is still the same.

Trouble that a repetition may cure is a StoreError; what is wrong with the object itself is a MediaError with a code:
`missing`, `no_permission`, `source_changed`, `unknown_size`, `bad_name`, and for http also `refused_address`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from curate.inputs.uris import WEB_SCHEMES, bucket_and_key, scheme_of
from shards.errors import MediaError, StoreError
from shards.storage.remote import RemoteConfig, open_remote

RANGE_BYTES = 64 << 20  # of one request: what is asked again when a connection breaks is never more
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class RemoteState:
    """What a server says of an object; two states are equal if the object is the same, as far as anybody can tell.

    Attributes:
        size_bytes: of the object.
        etag: the server's mark of these bytes; None if it gives none.
        changed: when it was last changed, as the server writes it; None if it does not.
    """

    size_bytes: int
    etag: str | None
    changed: str | None

    @property
    def can_resume(self) -> bool:
        """Whether a later request can prove that it reads the same bytes."""
        return self.etag is not None or self.changed is not None


class RemoteInput(Protocol):
    """One remote file."""

    uri: str

    def state(self) -> RemoteState:
        """What the object is now."""
        ...

    def read(self, offset: int, state: RemoteState) -> Iterator[bytes]:
        """Bytes from an offset on, RANGE_BYTES at most and fewer where a connection ends early.

        Raises:
            MediaError: `source_changed`: the object is not the one of `state` any more.
            StoreError: the network or the server failed.
        """
        ...


def open_input(uri: str, patience: RemoteConfig, private_hosts: bool = False) -> RemoteInput:
    """The input of an s3, gs, az, http or https uri; nothing is asked yet.

    Args:
        uri: of the file.
        patience: with servers.
        private_hosts: fetch from http hosts at loopback and private addresses too.
    """
    if scheme_of(uri) in WEB_SCHEMES:
        from curate.inputs.web import WebInput

        return WebInput(uri, patience, private_hosts)
    return BucketInput(uri, patience)


def changed_source(uri: str) -> MediaError:
    """The error of a source whose bytes are not those that were seen before."""
    return MediaError(f"{uri} changed while it was read; a finished file is needed; rerun", "source_changed")


class BucketInput:
    """An object of S3, Google Cloud Storage or Azure, through obstore."""

    def __init__(self, uri: str, patience: RemoteConfig) -> None:
        self.uri = uri
        bucket, self.key = bucket_and_key(uri)
        self.store = bucket_store(bucket, patience)

    def state(self) -> RemoteState:
        """See RemoteInput."""
        import obstore

        with bucket_errors(self.uri):
            return _state(obstore.head(self.store, self.key))

    def read(self, offset: int, state: RemoteState) -> Iterator[bytes]:
        """See RemoteInput."""
        import obstore

        options: dict[str, Any] = {"range": (offset, min(offset + RANGE_BYTES, state.size_bytes))}
        if state.etag:
            options["if_match"] = state.etag
        with bucket_errors(self.uri):
            answer: Any = obstore.get(self.store, self.key, options=options)  # pyright: ignore[reportArgumentType]
            if _state(answer.meta) != state:
                raise changed_source(self.uri)
            for chunk in answer.stream(min_chunk_size=CHUNK_BYTES):
                yield bytes(chunk)


def bucket_store(bucket: str, patience: RemoteConfig) -> Any:
    """The obstore store of a bucket, one per process; who calls repeats, so it does not.

    Raises:
        MediaError: `bad_name`: no bucket can be called so.
    """
    return _bucket_store(bucket, patience.model_copy(update={"max_retries": 0}).model_dump_json())


@lru_cache
def _bucket_store(bucket: str, patience: str) -> Any:
    try:
        return open_remote(bucket, RemoteConfig.model_validate_json(patience))
    except Exception as error:
        raise MediaError(f"{bucket} cannot be opened; {error}; correct the uri or credentials", "bad_name") from error


@contextmanager
def bucket_errors(uri: str) -> Iterator[None]:
    """Turn obstore's errors into ours."""
    from obstore import exceptions

    try:
        yield
    except (MediaError, StoreError):
        raise
    except FileNotFoundError as error:
        raise MediaError(f"{uri} is missing; an object of this name is needed; correct the uri", "missing") from error
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
        raise MediaError(f"{uri} may not be read; {_first_line(error)}; check credentials", "no_permission") from error
    except exceptions.PreconditionError as error:
        raise changed_source(uri) from error
    except (ValueError, exceptions.InvalidPathError) as error:
        raise MediaError(f"{uri} is no name of an object; {_first_line(error)}; correct the uri", "bad_name") from error
    except Exception as error:
        raise StoreError(f"reading {uri} failed; {_first_line(error)}; check network and credentials") from error


def _state(meta: Any) -> RemoteState:
    changed = meta["last_modified"]
    return RemoteState(meta["size"], meta["e_tag"], changed.isoformat() if changed else None)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
