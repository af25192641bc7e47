"""What reading shuffled latents costs, ours beside others that read the same samples.

One process per run (`readers/`), the readers taking turns and each round beginning with another one. Every reader takes
all samples twice, in random order and to the end; what the first epoch held is checked (each sample once, the same
content for all), the second is measured: CPU seconds, user and system, of the process and its workers. A reader that
loses or repeats a sample has no score.
"""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reelmill.bench.reader_peers import Reader, last_line

OURS = "reelmill"
_TIMEOUT_S = 600


@dataclass(frozen=True)
class Readings:
    """All runs of a reader, in order."""

    name: str
    runs: list[dict[str, Any]]

    def median(self, figure: str) -> float:
        """Of all runs."""
        return statistics.median(run[figure] for run in self.runs)

    def facts(self) -> dict[str, Any]:
        """Median with lowest and highest of each number."""
        cpu = [run["cpu_ms_per_sample"] for run in self.runs]
        return {
            "cpu_ms_per_sample": round(statistics.median(cpu), 4),
            "cpu_ms_lowest": round(min(cpu), 4),
            "cpu_ms_highest": round(max(cpu), 4),
            **{
                name: round(self.median(name), 1 if name != "first_batch_s" else 3)
                for name in ("samples_per_s", "first_batch_s", "peak_rss_mb", "bytes_per_sample")
            },
        }


def measure_readers(
    folder: Path, peers: Sequence[Reader], num_samples: int, repeats: int, tell: Callable[[str], None], *options: str
) -> dict[str, Readings]:
    """Runs of ours and of the peers that read all samples; of each other one, a line is told.

    Args:
        folder: with the published set in `dataset/` and the copies that peers made.
        peers: those that are prepared.
        num_samples: of the set.
        repeats: runs of each.
        tell: gets the lines.
        options: of the scripts: `--workers 2`, `--cold`.
    """
    readers = [Reader(OURS, sys.executable), *peers]
    found = {reader.name: Readings(reader.name, []) for reader in readers}
    for number in range(repeats):
        turn = number % len(readers)
        for reader in (*readers[turn:], *readers[:turn]):
            if reader.name in found:
                try:
                    found[reader.name].runs.append(_checked(run_script(reader, "read", folder, *options), num_samples))
                except (subprocess.SubprocessError, ValueError) as error:
                    said = last_line(error) if isinstance(error, subprocess.CalledProcessError) else str(error)
                    tell(f"{reader.name}{' '.join(('', *options))} has no score: {said}")
                    del found[reader.name]
    contents = {readings.runs[0]["content"] for readings in found.values() if readings.runs}
    if len(contents) > 1:
        raise ValueError(f"readers saw {len(contents)} different contents of the same set; fix the scripts")
    return found


def prepare_peers(folder: Path, peers: Sequence[Reader], tell: Callable[[str], None]) -> list[Reader]:
    """Peers that made their own copy of the set, or need none."""
    ready = []
    for peer in peers:
        try:
            run_script(peer, "prepare", folder)
            ready.append(peer)
        except subprocess.CalledProcessError as error:
            tell(f"{peer.name} is not measured: {last_line(error)}")
    return ready


def run_script(reader: Reader, action: str, folder: Path, *options: str) -> dict[str, Any]:
    """What a script of `readers/` prints last."""
    done = subprocess.run(
        [reader.python, reader.script, action, str(folder), *options],
        env=_environment(reader, folder),
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
    )
    lines = done.stdout.splitlines()
    return json.loads(lines[-1]) if action == "read" else {}


def _environment(reader: Reader, folder: Path) -> dict[str, str]:
    """One thread, secure webdataset, caches beside the set; our packages are found by our own reader only."""
    own = {"OMP_NUM_THREADS": "1", "WDS_SECURE": "1", "HF_HOME": str(folder / "hub"), "HF_HUB_OFFLINE": "1"}
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    packages = {"PYTHONPATH": str(Path(__file__).parents[2])} if reader.name == OURS else {}
    return {**kept, **own, **packages}


def _checked(run: dict[str, Any], num_samples: int) -> dict[str, Any]:
    if not run["num_samples"] == run["num_unique"] == run["num_read"] == num_samples:
        raise ValueError(f"{run['num_read']} samples, {run['num_unique']} different, of {num_samples}")
    if run["in_order"]:
        raise ValueError("the samples came in order, not shuffled")
    return run
