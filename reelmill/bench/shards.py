"""What datasets cost: reading latents beside other readers, clips, writing, and opening a large version.

Each part is a file of its own and says how it measures. Without `--peers` the only other reader is webdataset, if this
environment has it; with `--peers` all of them are installed, each in an environment of its own below the cache folder.
A full run takes about ten minutes, and for the version of ten million samples 10 GB of memory and of disk there.
"""

import importlib.util
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reelmill.bench import Measurement
from reelmill.bench.clips import clip_figures
from reelmill.bench.latent_set import publish_latents
from reelmill.bench.latents import OURS, Readings, measure_readers, prepare_peers
from reelmill.bench.opening import make_large, opening_figures
from reelmill.bench.processes import cache_folder
from reelmill.bench.reader_peers import Reader, install_readers
from reelmill.bench.writing import write_figures
from shards.facts import machine_facts, package_versions

LIMITS = {
    "cpu_ms_per_sample": 0.12,
    "vs_webdataset": 0.6,
    "vs_best_peer": 1.0,
    "video_vs_bare_decode": 1.05,
    "open_s": 5.0,
    "resume_s": 2.0,
    "plan_memory_mb": 200.0,
}
PEER_FIGURES = ("vs_webdataset", "vs_best_peer")  # no promise if nothing can be measured and --peers was not asked for
FLOORS = {"write_vs_copy": 0.8}


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes:
        num_shards, per_shard: of the set of latents.
        num_clips: of the set of clips.
        large_shards, large_per_shard: of the version that is opened.
        repeats: of every measurement.
        workers: numbers of worker processes that reading is measured with once more.
        cold: measure reading once more with the set out of the page cache.
    """

    num_shards: int = 20
    per_shard: int = 100
    num_clips: int = 64
    large_shards: int = 10_000
    large_per_shard: int = 1_000
    repeats: int = 5
    workers: tuple[int, ...] = (1, 2)
    cold: bool = True


def measure(peers: bool = False, sizes: Sizes | None = None) -> Measurement:
    """Run the bench."""
    sizes = sizes or Sizes()
    readers = install_readers(_tell) if peers else _own_peers()
    cache_folder().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_folder()) as name:  # the system's folder for this may be in memory
        folder = Path(name)
        latents = _latents(folder, readers, sizes)
        clips = clip_figures(folder, sizes.num_clips, sizes.repeats)
        writing = write_figures(folder, sizes.num_shards * sizes.per_shard, sizes.repeats)
        opening = opening_figures(make_large(folder, sizes.large_shards, sizes.large_per_shard), sizes.repeats)
    found = {**latents.figures, **clips, **writing, **opening}
    promised = {name: limit for name, limit in LIMITS.items() if name not in PEER_FIGURES or peers or name in found}
    return Measurement(
        bench="shards",
        figures={name: found[name] for name in (*promised, *FLOORS) if name in found},
        limits=promised,
        peers=latents.peers,
        details={
            **latents.details,
            **{name: value for name, value in found.items() if name not in (*promised, *FLOORS)},
        },
        machine={**machine_facts(), "load_average": " ".join(f"{load:.1f}" for load in os.getloadavg())},
        versions={**package_versions(), **latents.versions},
        floors=FLOORS,
    )


@dataclass(frozen=True)
class _Latents:
    """What was found of readers, in the places where a Measurement has it."""

    figures: dict[str, float]
    peers: dict[str, float]
    details: dict[str, Any]
    versions: dict[str, str]


def _latents(folder: Path, peers: list[Reader], sizes: Sizes) -> _Latents:
    publish_latents(folder, sizes.num_shards, sizes.per_shard)
    peers = prepare_peers(folder, peers, _tell)
    num_samples = sizes.num_shards * sizes.per_shard
    found = measure_readers(folder, peers, num_samples, sizes.repeats, _tell)
    cold = measure_readers(folder, peers, num_samples, int(sizes.cold), _tell, "--cold")
    workers = {n: measure_readers(folder, peers, num_samples, 1, _tell, "--workers", str(n)) for n in sizes.workers}
    cpu_ms = {name: readings.median("cpu_ms_per_sample") for name, readings in found.items()}
    details: dict[str, Any] = {}
    for name, readings in found.items():
        details |= {f"{name}_{fact}": value for fact, value in readings.facts().items()}
        details |= {f"{name}_disk_mb": _disk_mb(folder, name)}
        details |= _of(name, cold, "first_epoch_s", "cold_epoch_s")
        for number, runs in workers.items():
            details |= _of(name, runs, "cpu_ms_per_sample", f"{number}_workers_cpu_ms")
            details |= _of(name, runs, "samples_per_s", f"{number}_workers_samples_per_s")
    return _Latents(
        figures=_ratios(cpu_ms),
        peers={f"{name}_cpu_ms_per_sample": value for name, value in cpu_ms.items() if name != OURS},
        details=details,
        versions={k: v for readings in found.values() for k, v in readings.runs[0]["versions"].items() if k != "numpy"},
    )


def _ratios(cpu_ms: Mapping[str, float]) -> dict[str, float]:
    others = {name: value for name, value in cpu_ms.items() if name != OURS}
    if OURS not in cpu_ms:  # told already; what is promised of it counts as missed
        return {}
    figures = {"cpu_ms_per_sample": cpu_ms[OURS]}
    if "webdataset" in others:
        figures["vs_webdataset"] = cpu_ms[OURS] / others["webdataset"]
    if len(others) > 1:
        figures["vs_best_peer"] = cpu_ms[OURS] / min(others.values())
    return figures


def _disk_mb(folder: Path, name: str) -> float:
    """What a reader reads from: its own copy of the set, else the set itself."""
    own = folder / "copies" / name
    source = own if own.is_dir() else folder / "dataset"
    return sum(path.stat().st_size for path in source.rglob("*") if path.is_file()) / 1e6


def _of(name: str, runs: Mapping[str, Readings], figure: str, title: str) -> dict[str, float]:
    return {f"{name}_{title}": runs[name].median(figure)} if name in runs and runs[name].runs else {}


def _own_peers() -> list[Reader]:
    return [Reader("webdataset", sys.executable)] if importlib.util.find_spec("webdataset") else []


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
