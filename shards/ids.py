"""Ids from content and lineage, never from a counter or a random number: a retry gives the same id and file."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

ID_HEX_DIGITS = 16


def file_sha256(path: Path) -> str:
    """Sha256 of a file's bytes, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def video_id(content_sha256: str) -> str:
    """Id of a video: same bytes, same id."""
    return content_sha256[:ID_HEX_DIGITS]


def clip_id(video_id: str, stream_index: int, start_pts: int, end_pts: int) -> str:
    """Id of the half-open span [start_pts, end_pts) of one stream of a video."""
    text = f"{video_id}:{stream_index}:{start_pts}:{end_pts}"
    return hashlib.sha256(text.encode()).hexdigest()[:ID_HEX_DIGITS]


def digest(value: object) -> str:
    """Sha256 of a JSON-like value in canonical form (sorted keys, no spaces), 64 hex digits.

    Raises:
        TypeError: the value holds something JSON cannot carry.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def folder_sha256(path: Path) -> str:
    """Sha256 over the names and bytes of all files below a folder, or of one file: the identity of model weights."""
    if path.is_file():
        return file_sha256(path)
    files: Mapping[str, str] = {
        str(file.relative_to(path)): file_sha256(file) for file in sorted(path.rglob("*")) if file.is_file()
    }
    return digest(files)
