"""What a command and all that it starts cost: CPU by kind of process, and memory of all of them at once."""

import contextlib
import os
import resource
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

INTERVAL_S = 0.1
WORK = "work"


@dataclass(frozen=True)
class TreeCost:
    """Of a command and its descendants.

    Attributes:
        cpu_s: user and system by kind of process.
        wall_s: from start to end.
        peak_rss_bytes: most that all of them held at one moment.
    """

    cpu_s: Mapping[str, float]
    wall_s: float
    peak_rss_bytes: int


def one_kind(command: str) -> str:
    """Every process is work."""
    return WORK


def run_tree(
    command: Sequence[str | Path],
    log: Path,
    kind_of: Callable[[str], str] = one_kind,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> TreeCost:
    """Run a command to its end.

    CPU is sampled per process, since what a daemon starts is not waited for by us; where all are waited for and the
    kernel's sum is larger (short processes end between two samples), that sum counts.

    Args:
        command: what to run.
        log: gets what it writes.
        kind_of: kind of a process by its command line, for the sums.
        env: added to the environment.
        cwd: where to run it.

    Raises:
        CalledProcessError: it did not end with 0; `output` is the end of its log.
    """
    seen: dict[tuple[int, int], tuple[str, float]] = {}
    peak, before, begun = 0, _waited_cpu_s(), time.perf_counter()
    words = [str(word) for word in command]
    with log.open("wb") as file:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, cwd=cwd,
            env={**os.environ, **(env or {})},
        )  # fmt: skip
        while process.poll() is None:
            peak = max(peak, _sample(process.pid, seen, kind_of))
            time.sleep(INTERVAL_S)
    wall_s = time.perf_counter() - begun
    if process.returncode:
        tail = log.read_text(errors="replace")[-600:]
        raise subprocess.CalledProcessError(process.returncode, words, tail)
    sums: dict[str, float] = {}
    for kind, cpu_s in seen.values():
        sums[kind] = sums.get(kind, 0.0) + cpu_s
    waited = _waited_cpu_s() - before
    if set(sums) <= {WORK}:
        sums[WORK] = max(sums.get(WORK, 0.0), waited)
    return TreeCost(sums, wall_s, peak)


def _sample(root: int, seen: dict[tuple[int, int], tuple[str, float]], kind_of: Callable[[str], str]) -> int:
    """Note every process's CPU so far; returns the resident bytes of all."""
    stats = {stat.pid: stat for stat in _all_stats()}
    tree, rss = {root}, 0
    grown = True
    while grown:
        own = {pid for pid, stat in stats.items() if stat.ppid in tree}
        grown = not own <= tree
        tree |= own
    for stat in (stats[pid] for pid in tree if pid in stats):
        with contextlib.suppress(OSError):  # it may end between two looks
            command = Path(f"/proc/{stat.pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            before = seen.get((stat.pid, stat.started))
            kind = kind_of(command) if command.strip() or before is None else before[0]  # a zombie has lost its name
            seen[stat.pid, stat.started] = kind, stat.cpu_s
            rss += stat.rss_bytes
    return rss


@dataclass(frozen=True)
class _Stat:
    """Of `/proc/PID/stat`; a start in ticks since boot does not move with the clock, as psutil's does."""

    pid: int
    ppid: int
    started: int
    cpu_s: float
    rss_bytes: int


def _all_stats() -> Iterator[_Stat]:
    tick, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
            cpu_s = (int(fields[11]) + int(fields[12])) / tick
            yield _Stat(int(folder.name), int(fields[1]), int(fields[19]), cpu_s, int(fields[21]) * page)


def _waited_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
