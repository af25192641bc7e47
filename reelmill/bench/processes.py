"""What other processes cost: CPU seconds and memory of commands; and where benches keep what they make once."""

import os
import resource
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

_SAMPLE_INTERVAL_S = 0.05


@dataclass(frozen=True)
class CommandCost:
    """Of one process and all that it started.

    Attributes:
        cpu_s: user and system.
        wall_s: from start to end.
        rss_own_bytes: largest resident set of the process itself.
        rss_others_bytes: largest resident set of any process it started.
    """

    cpu_s: float
    wall_s: float
    rss_own_bytes: int
    rss_others_bytes: int


def cache_folder() -> Path:
    """Where pinned files are kept: below XDG_CACHE_HOME or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reelmill" / "bench"


def run_command(command: Sequence[str]) -> CommandCost:
    """Run a command to its end and measure it together with all processes it starts."""
    before_s, before_wall_s = children_cpu_s(), time.perf_counter()
    own = others = 0
    with psutil.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            own, others = max(own, _rss_bytes([process])), max(others, _rss_bytes(_started_by(process)))
            time.sleep(_SAMPLE_INTERVAL_S)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return CommandCost(children_cpu_s() - before_s, time.perf_counter() - before_wall_s, own, others)


def children_cpu_s() -> float:
    """User and system time of all processes that this one started and that ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _started_by(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _rss_bytes(processes: Sequence[psutil.Process]) -> int:
    """Largest resident set among the processes that still run."""
    found = 0
    for process in processes:
        try:
            found = max(found, process.memory_info().rss)
        except psutil.Error:
            continue
    return found
