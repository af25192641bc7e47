"""Files, folders and globs to paths of videos; nothing is opened but the text beside a video."""

import glob
import logging
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

_log = logging.getLogger(__name__)

VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".flv", ".ogv", ".ogg", ".gif", ".mpg", ".mpeg", ".vob"),
    *(".ts", ".m2ts", ".mts", ".3gp", ".3g2", ".wmv", ".asf", ".ivf", ".mxf", ".dv", ".nut", ".y4m"),
)
LIST_SUFFIXES = (".csv", ".parquet", ".jsonl")
MAX_SIDECAR_BYTES = 64 << 10


def paths_of(name: str, suffixes: Sequence[str]) -> Iterator[Path]:
    """The videos that a name stands for: a folder's, a glob's, else the name itself, whether it exists or not."""
    path = Path(name)
    if path.is_dir():
        yield from _in_folder(path, tuple(suffix.lower() for suffix in suffixes))
    elif not os.path.lexists(path) and glob.has_magic(name) and (matches := glob.glob(name, recursive=True)):
        for match in sorted(matches):
            yield from paths_of(match, suffixes)
    else:
        yield path


def sidecar_text(path: Path) -> str | None:
    """Text of NAME.txt beside a video, if it is a small regular file with anything in it.

    A symlink is not followed: what lies beside a stranger's video must not name a file elsewhere.
    """
    sidecar = path.with_suffix(".txt") if path.name else path
    try:
        status = os.lstat(sidecar)
        if sidecar == path or not stat.S_ISREG(status.st_mode) or status.st_size > MAX_SIDECAR_BYTES:
            return None
        return sidecar.read_bytes().decode("utf-8-sig", "replace").strip() or None
    except (OSError, ValueError):
        return None


def _in_folder(folder: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    """Videos below a folder by suffix, links followed once; a folder or device with a video's name is given as well."""
    num_ignored = 0
    seen = set()
    for root, folders, files in os.walk(folder, followlinks=True):
        status = os.stat(root)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        videos = [name for name in [*folders, *files] if name.lower().endswith(suffixes)]
        folders[:] = sorted(set(folders) - set(videos))
        num_ignored += len(files) - len(set(files) & set(videos))
        yield from (Path(root, name) for name in sorted(videos))
    if num_ignored:
        _log.info("%r: %d files without a video's suffix are no inputs", str(folder), num_ignored)
