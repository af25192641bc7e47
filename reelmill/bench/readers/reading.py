"""What the scripts beside this file share; found by its place beside them, so it needs the standard library and numpy.

A script is started as `python read_X.py prepare|read FOLDER [--workers N] [--cold]`. `prepare` makes the reader's own
copy of the set, `read` takes two epochs to their end, shuffled: the first is checked, the second is measured. Every
reader does the same work per sample: the array, the parsed .json, the decoded .txt; 32 arrays make a batch.
"""

import argparse
import hashlib
import io
import json
import os
import resource
import sys
import tarfile
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 32
SEED = 7

Sample = tuple[str, Any, np.ndarray, str]  # key, row, latent, caption
Epoch = Callable[[Path, int, int], Iterable[Sample]]  # folder, workers, number of the epoch


def main(prepare: Callable[[Path], None], epoch: Epoch, libraries: tuple[str, ...]) -> None:
    """Run a reader's script: the last line on stdout is one JSON object."""
    parser = argparse.ArgumentParser()
    parser.add_argument("action", choices=["prepare", "read"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--cold", action="store_true")
    options = parser.parse_args()
    if options.action == "prepare":
        prepare(options.folder)
        return
    if options.cold:
        evict(options.folder)
    found = read(epoch, options.folder, options.workers)
    print(json.dumps({**found, "versions": _versions(libraries)}))
    sys.stdout.flush()
    os._exit(0)  # some readers leave threads behind that would wait


def read(epoch: Epoch, folder: Path, workers: int) -> dict[str, Any]:
    """Two epochs: what the first held, and what the second cost."""
    began_s = time.perf_counter()
    first_s, keys, content = None, [], 0
    for batch in _batches(epoch(folder, workers, 0)):
        first_s = first_s if first_s is not None else time.perf_counter() - began_s
        for key, row, latent, caption in batch[0]:
            keys.append(key)
            content ^= zlib.crc32(latent.tobytes(), zlib.crc32(f"{key} {row['key']} {caption}".encode()))
    checked_s = time.perf_counter() - began_s
    before_B, before_s, before_cpu_s = _bytes_read(), time.perf_counter(), cpu_s()
    num_samples = sum(len(batch[0]) for batch in _batches(epoch(folder, workers, 1)))
    used_s, took_s = cpu_s() - before_cpu_s, time.perf_counter() - before_s
    return {
        "first_batch_s": first_s,
        "first_epoch_s": checked_s,
        "num_samples": num_samples,
        "num_unique": len(set(keys)),
        "num_read": len(keys),
        "order": hashlib.sha256("\n".join(keys).encode()).hexdigest()[:16],
        "in_order": keys == sorted(keys),
        "content": content,
        "cpu_ms_per_sample": used_s * 1000 / num_samples,
        "samples_per_s": num_samples / took_s,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
        "bytes_per_sample": (_bytes_read() - before_B) / num_samples,
    }


def cpu_s() -> float:
    """User and system time of this process, of those it started and that ended, and of those that still run."""
    own, ended = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    ticks = sum(_ticks(pid) for pid in _descendants(os.getpid()))
    return own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime + ticks / os.sysconf("SC_CLK_TCK")


def evict(folder: Path) -> None:
    """Put a folder's files out of the page cache."""
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def tars(folder: Path) -> list[str]:
    """The set's shards."""
    return [str(path) for path in sorted((folder / "dataset").glob("shards/*/*.tar"))]


def members(folder: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Every sample of the set, in order: its key, and its members by suffix."""
    for path in tars(folder):
        with tarfile.open(path) as tar:
            found: dict[str, bytes] = {}
            for member in tar:
                key, _, suffix = member.name.partition(".")
                file = tar.extractfile(member)
                found[suffix] = file.read() if file else b""
                if suffix == "txt":  # the last of a sample
                    yield key, found
                    found = {}


def parsed(key: str, row: bytes, latent: bytes, caption: bytes) -> Sample:
    """A sample from the bytes of its members."""
    return key, json.loads(row), np.load(io.BytesIO(latent)), caption.decode()


def own_folder(folder: Path, name: str) -> Path:
    """Where a reader keeps its own copy of the set."""
    return folder / "copies" / name


def _batches(samples: Iterable[Sample]) -> Iterator[tuple[list[Sample], np.ndarray]]:
    gathered: list[Sample] = []
    for sample in samples:
        gathered.append(sample)
        if len(gathered) == BATCH:
            yield gathered, np.stack([latent for _, _, latent, _ in gathered])
            gathered = []
    if gathered:
        yield gathered, np.stack([latent for _, _, latent, _ in gathered])


def _descendants(pid: int) -> Iterator[int]:
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(child) for child in task.read_text().split()]
        except OSError:
            continue
        for child in children:
            yield child
            yield from _descendants(child)


def _ticks(pid: int) -> int:
    """Clock ticks of a process, and of those it started and that ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return sum(int(field) for field in fields[11:15])


def _bytes_read() -> int:
    """By read calls; what is mapped does not count."""
    return int(dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())["rchar"])


def _versions(libraries: tuple[str, ...]) -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in (*libraries, "numpy")}
