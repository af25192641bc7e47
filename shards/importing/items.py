"""What an import knows of each clip before it has looked into it."""

import hashlib
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shards.errors import ConfigError
from shards.format.tar import KEY

CAPTION_NAMES = ("caption", "text", "prompt", "title", "description")
VIDEO_SUFFIXES = ("mp4", "m4v", "mov")  # one family of containers, which the contract's .mp4 may hold


@dataclass(frozen=True)
class Media:
    """Bytes of a clip: a file, or a part of one."""

    path: Path
    offset: int
    size: int

    def read(self) -> bytes:
        """The bytes."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.size)


@dataclass(frozen=True)
class Item:
    """A clip of a foreign dataset.

    Attributes:
        name: where it was found, relative to the import's source; for people and for keys.
        media: its bytes.
        caption: None if there is none.
        values: what else came with it; numbers become score columns.
        source: name of the video that the clip was cut from, if it is told; clips of one source share a split.
        tar: the tar it lies in, if it does.
    """

    name: str
    media: Media
    caption: str | None
    values: Mapping[str, Any]
    source: str | None = None
    tar: Path | None = None


@dataclass(frozen=True)
class Failure:
    """A clip that was not imported."""

    name: str
    code: str
    detail: str


@dataclass
class Found:
    """What lies in a foreign dataset.

    Attributes:
        items: in a fixed order.
        failures: what is named there and cannot be taken.
        unfit: for each tar why it cannot be adopted as it is; None if it can.
    """

    items: list[Item] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    unfit: dict[Path, str | None] = field(default_factory=dict)


def whole_file(path: Path) -> Media:
    """A regular file as the bytes of a clip.

    Raises:
        ConfigError: it is none.
    """
    if not path.is_file():
        raise ConfigError(f"clip is {path}; a regular file is allowed; correct the list or the folder")
    return Media(path.absolute(), 0, path.stat().st_size)


def keys_of(names: list[str]) -> list[str]:
    """Keys for names: the name without folder and suffix if it is a key and the only one, else a hash of the name.

    Raises:
        ConfigError: a name is there twice.
    """
    double = next((name for name, number in Counter(names).items() if number > 1), None)
    if double is not None:
        raise ConfigError(f"clip {double} is named more than once; a clip has one line; remove the others")
    stems = [re.sub(r"\..*", "", name.rpartition("/")[2]) for name in names]
    counts = Counter(stems)
    return [
        stem if KEY.fullmatch(stem) and counts[stem] == 1 else hashlib.sha256(name.encode()).hexdigest()[:16]
        for stem, name in zip(stems, names, strict=True)
    ]


def caption_in(values: Mapping[str, Any], name: str | None = None) -> str | None:
    """The caption among values: under the given name, or under the first usual one."""
    names = CAPTION_NAMES if name is None else (name,)
    for candidate in names:
        value = values.get(candidate)
        if isinstance(value, str) and value.strip():
            return value.strip()
    return None
