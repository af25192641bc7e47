"""Inputs to rows of VIDEO: which uris there are (driver), then what each of them is (worker, through the media child).

Whatever is wrong with an input, it keeps a row with status failed and a stable code: nothing vanishes, nothing stops.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pydantic import Field

from curate.decision.early import REQUIRED
from curate.inputs.files import LIST_SUFFIXES, VIDEO_SUFFIXES, paths_of, sidecar_text
from curate.inputs.listing import remote_names
from curate.inputs.lists import ListColumns, read_list
from curate.inputs.remote import RemoteState
from curate.inputs.source import Source, expected_sha256
from curate.inputs.uris import (
    BUCKET_SCHEMES,
    WEB_SCHEMES,
    is_remote,
    local_path,
    local_uri,
    scheme_of,
    without_password,
)
from curate.media.opening import check_regular_file
from shards.config import Config
from shards.errors import MediaError
from shards.ids import file_sha256, video_id
from shards.schema import STATUS_FAILED, STATUS_OK, STATUS_REJECTED, VIDEO, from_rows

if TYPE_CHECKING:
    from curate.media.child import MediaChild

__all__ = ["IngestConfig", "expand_inputs", "input_identity", "local_path", "probe_row", "probe_videos"]

_MAX_DETAIL_CHARS = 500


class IngestConfig(Config):
    """What counts as an input, and what lists call their columns."""

    suffixes: tuple[str, ...] = Field(default=VIDEO_SUFFIXES, description="Names of videos in folders end so.")
    sidecar_text: bool = Field(default=True, description="Take NAME.txt beside a video as its caption.")
    uri_column: str = Field(default="uri", description="Column of lists: path or uri; relative to the list's folder.")
    caption_column: str = Field(default="caption", description="Column of lists: caption; may be absent.")
    licence_column: str = Field(default="licence", description="Column of lists: licence; may be absent.")
    sha256_column: str = Field(
        default="sha256", description="Column of lists: what a file must hash to; may be absent."
    )
    licence: str | None = Field(default=None, description="Licence of inputs that come without one.")
    require: tuple[str, ...] = Field(
        default=(),
        description="What an input must come with: `licence`, `caption`, further columns of lists; else rejected.",
    )
    private_hosts: bool = Field(
        default=False,
        description="Fetch http(s) uris from loopback and private addresses too.",
    )


@dataclass(frozen=True)
class _Input:
    """A name as given, and what came with it."""

    name: str
    caption: str | None = None
    licence: str | None = None
    provenance: str | None = None


def expand_inputs(inputs: Sequence[str], config: IngestConfig) -> pa.Table:
    """One row of VIDEO per uri, sorted by uri; status is null for what is still to be probed.

    Args:
        inputs: files, folders, globs, and lists (CSV, Parquet, JSONL) of them.
        config: suffixes and column names.

    Raises:
        ConfigError: a list cannot be read.
    """
    rows: dict[str, dict[str, Any]] = {}
    for item in _expand(inputs, config):
        row = _row(item, config)
        rows.setdefault(row["uri"], row)
    return from_rows((rows[uri] for uri in sorted(rows)), VIDEO)


def probe_videos(rows: pa.Table, child: "MediaChild") -> pa.Table:
    """Local rows with hash, media columns, key frame scores and status; those with a status already are left alone."""
    probed = (probe_row(row, Source(local_path(row["uri"])), child) for row in rows.to_pylist())
    return from_rows(probed, VIDEO)


def probe_row(row: Mapping[str, Any], source: Source, child: "MediaChild", sha256_column: str = "") -> dict[str, Any]:
    """A row of VIDEO with hash, media columns, key frame scores and status; one with a status is left alone.

    Args:
        row: as `expand_inputs` makes it.
        source: its bytes on a local disk.
        child: where they are opened.
        sha256_column: of lists, `IngestConfig.sha256_column`.
    """
    if row["status"]:
        return dict(row)
    return {**row, **_probe(row["uri"], source, child, expected_sha256(row, sha256_column))}


def unavailable_row(row: Mapping[str, Any], error: MediaError) -> dict[str, Any]:
    """A row of VIDEO whose source cannot be had."""
    return {**row, **_failed(error.code, str(error))}


def input_identity(row: Mapping[str, Any], state: RemoteState | None = None) -> dict[str, Any]:
    """What identifies an unprobed row's input without reading it: uri, what came with it, size and time of change.

    Args:
        row: as `expand_inputs` makes it.
        state: of a remote input; None if nobody can tell.
    """
    names = ("uri", "sidecar_caption", "licence", "provenance", "error", "drop_rule")
    identity: dict[str, Any] = {name: row[name] for name in names}
    if is_remote(row["uri"]):
        return identity | (asdict(state) if state else {})
    try:
        status = os.stat(local_path(row["uri"]))
    except (OSError, ValueError):
        return identity
    return identity | {"size_bytes": status.st_size, "changed_ns": status.st_mtime_ns}


def _expand(inputs: Iterable[str], config: IngestConfig) -> Iterable[_Input]:
    columns = ListColumns(config.uri_column, config.caption_column, config.licence_column)
    for name in inputs:
        if is_remote(name):
            for uri, text in remote_names(name, config.suffixes, config.sidecar_text):
                yield _Input(uri, text)
        elif Path(name).suffix.lower() in LIST_SUFFIXES and local_path(name).is_file():
            for entry in read_list(local_path(name), columns):
                yield _Input(entry.uri, entry.caption, entry.licence, entry.provenance)
        else:
            for path in paths_of(str(local_path(name)), config.suffixes):
                yield _Input(str(path))


def _row(item: _Input, config: IngestConfig) -> dict[str, Any]:
    row = {"licence": item.licence or config.licence, "provenance": item.provenance}
    if (refused := _refused(item.name)) or is_remote(item.name):
        row |= {"uri": _text(without_password(item.name)), "sidecar_caption": item.caption} | refused
    else:
        path = local_path(item.name)
        caption = item.caption or (sidecar_text(path) if config.sidecar_text else None)
        row |= {"uri": local_uri(path), "sidecar_caption": caption}
    return row if refused else row | _rejected(row, config.require)


def _rejected(row: Mapping[str, Any], required: Sequence[str]) -> dict[str, str]:
    """Status of a row that lacks something required; such a source is never opened."""
    came = {**json.loads(row["provenance"] or "{}"), "licence": row["licence"], "caption": row["sidecar_caption"]}
    lacks = next((name for name in required if came.get(name) is None or not str(came[name]).strip()), None)
    return {"status": STATUS_REJECTED, "drop_rule": f"{REQUIRED}{lacks}"} if lacks else {}


def _refused(name: str) -> dict[str, str]:
    """Status of a name that nothing can be fetched by; {} if something can."""
    if not _is_name(name):
        told = "name holds a null byte or a lone surrogate; no file can have it; correct the list"
        return _failed("bad_name", told)
    if is_remote(name) and scheme_of(name) not in (*BUCKET_SCHEMES, *WEB_SCHEMES):
        allowed = ", ".join((*BUCKET_SCHEMES, *WEB_SCHEMES))
        told = f"uri has the scheme {scheme_of(name)}; {allowed} and local files are allowed; copy the file first"
        return _failed("unsupported_uri", told)
    if is_remote(name) and without_password(name) != name:
        told = "uri holds a user name or password, and uris are published; use one without, or the environment"
        return _failed("bad_name", told)
    return {}


def _probe(uri: str, source: Source, child: "MediaChild", expected: str | None) -> dict[str, Any]:
    path = source.path
    found: dict[str, Any] = {}
    try:
        before = check_regular_file(path)
        found = {"size_bytes": before.st_size, **_hash(source)}
        if expected not in (None, found["sha256"]):
            told = f"sha256 is {found['sha256']}; the list says {expected}; correct one of them"
            raise MediaError(told, "hash_mismatch")
        columns = child.call("probe", path=str(path))["columns"]
        _refuse_change(path, before)
    except MediaError as error:
        return found | _failed(error.code, str(error).replace(str(path), uri) if is_remote(uri) else str(error))
    if "error_detail" in columns:
        columns["error_detail"] = _text(columns["error_detail"])[:_MAX_DETAIL_CHARS]
    return found | columns | {"status": STATUS_OK}


def _hash(source: Source) -> dict[str, str]:
    path = source.path
    try:
        sha256 = source.sha256 or file_sha256(path)
    except OSError as error:
        code = "no_permission" if isinstance(error, PermissionError) else "io_error"
        raise MediaError(f"{path} cannot be read; {error}; make it readable", code) from error
    return {"sha256": sha256, "video_id": video_id(sha256)}


def _refuse_change(path: Path, before: os.stat_result) -> None:
    after = check_regular_file(path)
    fields = ("st_size", "st_mtime_ns", "st_ino", "st_dev")
    if any(getattr(before, field) != getattr(after, field) for field in fields):
        raise MediaError(f"{path} changed while it was read; a finished file is needed; rerun", "changed_while_reading")


def _failed(code: str, detail: str) -> dict[str, str]:
    return {"status": STATUS_FAILED, "error": code, "error_detail": _text(detail)[:_MAX_DETAIL_CHARS]}


def _is_name(name: str) -> bool:
    """Whether the operating system could have a file of this name."""
    try:
        return b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:
        return False


def _text(text: str) -> str:
    """Text that any column holds: bytes that are no UTF-8 are escaped."""
    return text.encode("utf-8", "backslashreplace").decode()
