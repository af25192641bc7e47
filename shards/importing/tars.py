"""WebDataset tars of others, video2dataset's among them: which clips they hold, and whether they fit as they are.

Tars are read by offset, never extracted and never streamed; only regular members count.
"""

import json
import mmap
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shards.errors import ConfigError, ContractError
from shards.format.tar import parse_tar
from shards.importing.items import VIDEO_SUFFIXES, Failure, Found, Item, Media, caption_in

_MAX_TEXT_BYTES = 16 << 20


def read_tars(source: Path, caption_name: str | None = None, source_name: str | None = None) -> Found:
    """The clips of all tars below a folder, or of one tar.

    Args:
        source: folder or tar.
        caption_name: key of the caption in a sample's .json; by default .txt, then the usual keys.
        source_name: key of the source video in a sample's .json, e.g. `url` for video2dataset.

    Raises:
        ConfigError: there is no tar.
    """
    tars = sorted(source.rglob("*.tar")) if source.is_dir() else [source]
    if not tars or not tars[0].is_file():
        raise ConfigError(f"source is {source}; a folder with .tar files or a tar is allowed; name another")
    root = source if source.is_dir() else source.parent
    found = Found()
    for tar in tars:
        _read_tar(tar, str(tar.relative_to(root)), found, caption_name, source_name)
    return found


def _read_tar(tar: Path, name: str, found: Found, caption_name: str | None, source_name: str | None) -> None:
    try:
        samples = _samples(tar)
    except (tarfile.TarError, OSError, EOFError) as error:
        found.failures.append(Failure(name, "broken_tar", " ".join(str(error).split())))
        return
    reason = why_unfit(tar)
    for key, members in samples.items():
        video = next((members[suffix] for suffix in VIDEO_SUFFIXES if suffix in members), None)
        where = f"{name}/{key}"
        if video is None:
            found.failures.append(Failure(where, "no_video", f"members are {', '.join(sorted(members)) or 'none'}"))
            continue
        values, text = _json(members.get("json")), _text(members.get("txt"))
        caption = text if caption_name is None and text else caption_in(values, caption_name)
        if (caption or "") != (text or ""):
            reason = reason or f"the caption of {key} is in its .json, not in its .txt"
        origin = values.get(source_name) if source_name else None
        source = None if origin in (None, "") else str(origin)
        found.items.append(Item(where, video, caption, values, source, tar))
    found.unfit[tar] = reason


def why_unfit(tar: Path) -> str | None:
    """Why a tar cannot be a shard of the contract as it is, None if it can."""
    try:
        with (
            tar.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
            memoryview(mapped) as view,
        ):
            members = parse_tar(view)
    except (ContractError, ValueError, OSError) as error:
        return " ".join(str(error).split())
    suffixes = {member.suffix for member in members}
    return None if suffixes == {"json", "mp4", "txt"} else f"samples have {sorted(suffixes)}, not json, mp4 and txt"


def _samples(tar: Path) -> dict[str, dict[str, Media]]:
    """Members by sample, as WebDataset groups them: the name up to the first dot of its last part."""
    samples: dict[str, dict[str, Media]] = {}
    with tarfile.open(tar, "r:") as opened:
        for member in _regular(opened):
            folder, slash, base = member.name.rpartition("/")
            stem, _, suffix = base.partition(".")
            part = Media(tar.absolute(), member.offset_data, member.size)
            samples.setdefault(f"{folder}{slash}{stem}", {})[suffix.lower()] = part
    return samples


def _regular(opened: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    for member in opened:
        if member.isreg() and not member.issparse():
            yield member


def _json(part: Media | None) -> dict[str, Any]:
    if part is None or part.size > _MAX_TEXT_BYTES:
        return {}
    try:
        values = json.loads(part.read())
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def _text(part: Media | None) -> str | None:
    if part is None or part.size > _MAX_TEXT_BYTES:
        return None
    try:
        return part.read().decode()
    except UnicodeDecodeError:
        return None
