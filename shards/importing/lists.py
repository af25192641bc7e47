"""Lists of clips with a folder of files: CSV as LLaVA-Video and Open-Sora write it, Hugging Face's metadata files."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shards.errors import ConfigError
from shards.importing.items import Failure, Found, Item, caption_in, whole_file

PATH_NAMES = ("path", "video", "video_path", "file_name", "filename", "file", "clip_path", "clip")
_METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")


def read_csv(
    source: Path, caption_name: str | None = None, source_name: str | None = None, path_name: str | None = None
) -> Found:
    """The clips of a CSV file; paths in it are absolute or relative to its folder.

    Args:
        source: the file, with a line of column names.
        caption_name: column of captions; by default the first usual one.
        source_name: column that names the video a clip was cut from.
        path_name: column of paths; by default the first usual one.

    Raises:
        ConfigError: no such file, or no column of paths.
    """
    if not source.is_file():
        raise ConfigError(f"source is {source}; a CSV file is allowed; name the file, not its folder")
    return _found(source, _csv_rows(source), caption_name, source_name, path_name)


def read_hf(source: Path, caption_name: str | None = None, source_name: str | None = None) -> Found:
    """The clips of a Hugging Face video folder: files beside metadata.csv, .jsonl or .parquet with `file_name`.

    Raises:
        ConfigError: no metadata file is found below the folder.
    """
    files = sorted(file for name in _METADATA for file in source.rglob(name))
    if not files:
        raise ConfigError(
            f"source is {source}; a folder with {' or '.join(_METADATA)} is allowed; "
            f"for tars use --kind webdataset; videos inside Parquet files are not read"
        )
    found = Found()
    for file in files:
        part = _found(file, _metadata_rows(file), caption_name, source_name, "file_name", source)
        found.items += part.items
        found.failures += part.failures
    return found


def _found(
    file: Path,
    rows: Iterator[dict[str, Any]],
    caption_name: str | None,
    source_name: str | None,
    path_name: str | None,
    root: Path | None = None,
) -> Found:
    found = Found()
    for number, row in enumerate(rows, 1):
        column = path_name or next((name for name in PATH_NAMES if name in row), None)
        if column is None or column not in row:
            raise ConfigError(
                f"{file} has columns {', '.join(map(str, row))}; one of {', '.join(PATH_NAMES)} is the path; "
                f"name it with --path-column"
            )
        name = str(row[column])
        try:
            media = whole_file(file.parent / name)
            shown = str((file.parent / name).relative_to(root)) if root else name
        except (ConfigError, OSError, ValueError) as error:
            found.failures.append(Failure(f"{file.name}:{number} {name}", "missing_file", str(error)))
            continue
        values = {key: _number(value) for key, value in row.items() if key != column}
        origin = row.get(source_name) if source_name else None
        found.items.append(
            Item(shown, media, caption_in(row, caption_name), values, None if origin in (None, "") else str(origin))
        )
    return found


def _csv_rows(path: Path) -> Iterator[dict[str, Any]]:
    csv.field_size_limit(16 << 20)
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            yield from csv.DictReader(file)
        except (csv.Error, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} is no CSV in UTF-8; {error}; convert it") from error


def _metadata_rows(path: Path) -> Iterator[dict[str, Any]]:
    if path.suffix == ".csv":
        yield from _csv_rows(path)
    elif path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            yield from pq.read_table(path).to_pylist()
        except pa.ArrowException as error:
            raise ConfigError(f"{path} is no readable Parquet; {error}; write it again") from error
    else:
        for line in path.read_bytes().split(b"\n"):
            if line.strip():
                yield _object(path, line)


def _object(path: Path, line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise ConfigError(
            f"{path} has a line that is no JSON; {error}; one object a line is allowed; fix it"
        ) from error
    if not isinstance(value, dict):
        raise ConfigError(f"{path} has a line that is {type(value).__name__}; one object a line is allowed; fix it")
    return value


def _number(value: Any) -> Any:
    """A number that stands as text in a CSV; None for an empty cell."""
    if not isinstance(value, str):
        return value
    if not value.strip():
        return None
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value
