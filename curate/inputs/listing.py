"""Folders and globs of object stores to names of objects, with the small texts beside them."""

import fnmatch
import re
from collections.abc import Iterator, Sequence
from typing import Any

from curate.inputs.files import MAX_SIDECAR_BYTES
from curate.inputs.remote import bucket_errors, bucket_store
from curate.inputs.uris import BUCKET_SCHEMES, bucket_and_key, name_of, scheme_of
from shards.errors import ConfigError, MediaError, StoreError
from shards.storage.remote import RemoteConfig

_MAGIC = re.compile(r"[*?\[]")


def remote_names(uri: str, suffixes: Sequence[str], sidecar_text: bool) -> Iterator[tuple[str, str | None]]:
    """The videos that a remote name stands for, each with the text beside it: a folder's, a glob's, else itself.

    A folder ends with `/` or is a name without a video's suffix below which objects lie. In a glob, `*` and `?` stop at
    no `/`, as object stores have none. Web servers cannot be listed.

    Raises:
        ConfigError: the store does not let itself be listed.
    """
    if scheme_of(uri) not in BUCKET_SCHEMES:
        yield uri, None
        return
    try:
        yield from _bucket_names(uri, tuple(suffix.lower() for suffix in suffixes), sidecar_text)
    except (MediaError, StoreError) as error:
        raise ConfigError(f"input {uri} cannot be listed; {error}") from error


def _bucket_names(uri: str, suffixes: tuple[str, ...], sidecar_text: bool) -> Iterator[tuple[str, str | None]]:
    bucket, key = bucket_and_key(uri)
    patience = RemoteConfig.from_environment()
    store: Any = bucket_store(bucket, patience)
    magic = _MAGIC.search(key)
    if not magic and key.lower().endswith(suffixes):
        yield uri, _text_of(store, _sidecar(key), uri) if sidecar_text else None
        return
    folder = key[: magic.start()].rpartition("/")[0] if magic else key.rstrip("/")
    sizes = _listed(store, folder, uri, patience)
    found = [name for name in sizes if (fnmatch.fnmatchcase(name, key) if magic else name.lower().endswith(suffixes))]
    if not found:
        yield uri, None  # it keeps a row, which says that it is missing
    for name in sorted(found):
        text = sidecar_text and 0 < sizes.get(_sidecar(name), 0) <= MAX_SIDECAR_BYTES
        yield f"{bucket}/{name}", _text_of(store, _sidecar(name), uri) if text else None


def _listed(store: Any, folder: str, uri: str, patience: RemoteConfig) -> dict[str, int]:
    """Key -> size of all objects below a folder."""
    import obstore

    failure: StoreError | None = None
    for _ in patience.attempts():
        try:
            with bucket_errors(uri):
                pages = obstore.list(store, folder or None)
                return {item["path"]: item["size"] for page in pages for item in page}
        except StoreError as error:
            failure = error
    raise failure or StoreError(f"listing {uri} was not tried; see REELMILL_STORE_MAX_RETRIES")


def _text_of(store: Any, key: str, uri: str) -> str | None:
    """Text of a small object; None if there is none."""
    import obstore

    try:
        with bucket_errors(uri):
            if obstore.head(store, key)["size"] > MAX_SIDECAR_BYTES:
                return None
            return bytes(obstore.get(store, key).bytes()).decode("utf-8-sig", "replace").strip() or None
    except MediaError:
        return None


def _sidecar(key: str) -> str:
    return str(name_of(f"s3://bucket/{key}").with_suffix(".txt"))
