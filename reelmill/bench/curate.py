"""The whole task against the field: the same twenty videos through Reelmill and, with `--peers`, each peer.

"Detect shots, score motion, cut, write shards." CPU is user and system of a command and all that it starts, less that
of the same command on one tiny video (start-up). Ours is given without the verification of every clip, which no peer
does and which stands beside it. Boundaries are held against what people counted or what was drawn; a clip is exact if
it shows as many frames as its maker planned and begins and ends on the planned ones.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from curate.media.opening import ffmpeg_path
from curate.media.tools import ffmpeg_builds
from reelmill.bench import Measurement
from reelmill.bench import curate_checks as checks
from reelmill.bench.curate_peers import SYSTEMS, System, Task, clear, counted_frames, environment, file_server
from reelmill.bench.curate_ray import measure_ray
from reelmill.bench.curate_videos import BenchVideo, bench_videos
from reelmill.bench.peer_venvs import PeerFailed, peer_venv
from reelmill.bench.process_tree import TreeCost, run_tree
from reelmill.bench.processes import run_command
from reelmill.bench.scan import made_tiny, null_decode, verification_cpu_s
from shards.errors import StoreError
from shards.facts import machine_facts, package_versions

PEERS_NEEDED = 2
OURS = "reelmill"
LIMITS = {"ray_over_local": 1.15, "unaccounted_s": 0.0}
FLOORS = {"vs_best_reencoding_peer": 4.0, "vs_pyscenedetect_copy": 1.3, "exact_clips": 1.0}


@dataclass(frozen=True)
class Row:
    """What one system did.

    Attributes:
        cpu_s: less start-up and, of ours, verification.
        start_up_s: CPU of the tiny run.
        verify_s: CPU of decoding every clip once more; ours alone.
        wall_s: of the whole command.
        peak_rss_mb: of all its processes at once.
        decoded, encoded: frames per source frame.
        f1, f1_near: of boundaries, to the frame and within two.
        exact: share of its clips.
        num_clips: planned.
        unaccounted_s: source seconds in no clip and no record.
    """

    cpu_s: float
    start_up_s: float
    verify_s: float
    wall_s: float
    peak_rss_mb: float
    decoded: float
    encoded: float
    f1: float
    f1_near: float
    exact: float
    num_clips: int
    unaccounted_s: float


def measure(peers: bool = False, ray_passes: int = 3) -> Measurement:
    """Run the bench.

    Raises:
        StoreError: fewer than two peers ran, with the reason of each that did not.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        videos = bench_videos(folder / "in", int(os.environ.get("REELMILL_BENCH_VIDEOS", "20")))
        rows, failed = run_systems(videos, folder, list(SYSTEMS) if peers else [OURS, "reelmill encode"])
        decode_s = plain_decode_cpu_s([video.path for video in videos])
        ray = measure_ray(folder / "ray", ray_passes)
    ran = {name.partition(" ")[0] for name in rows if not name.startswith(OURS)}
    if peers and len(ran) < PEERS_NEEDED:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in failed.items())
        raise StoreError(f"bench curate ran {len(ran)} peers; {PEERS_NEEDED} are needed; {reasons}")
    ours = rows[OURS]
    figures = {
        "cpu_per_decode": ours.cpu_s / decode_s,
        "ray_over_local": ray.ray_over_local,
        "exact_clips": ours.exact,
        "unaccounted_s": ours.unaccounted_s,
    }
    reencoding = [row.cpu_s for name, row in rows.items() if SYSTEMS[name].encodes and not name.startswith(OURS)]
    if reencoding:
        figures["vs_best_reencoding_peer"] = min(reencoding) / ours.cpu_s
    if "pyscenedetect copy" in rows:
        figures["vs_pyscenedetect_copy"] = rows["pyscenedetect copy"].cpu_s / ours.cpu_s
    return Measurement(
        bench="curate",
        figures=figures,
        limits=LIMITS,
        peers={"ffmpeg_null_decode_cpu_s": decode_s}
        | {f"{name}_cpu_s": row.cpu_s for name, row in rows.items() if not name.startswith(OURS)},
        details={
            **{f"{name}_{key}": value for name, row in rows.items() for key, value in asdict(row).items()},
            **{f"{name}_failed": reason for name, reason in failed.items()},
            **{f"ray_{key}": value for key, value in asdict(ray).items()},
        },
        machine=machine_facts(),
        versions=package_versions() | ffmpeg_builds(None) | _peer_versions(rows),
        floors=FLOORS if peers else {name: FLOORS[name] for name in ("exact_clips",)},
    )


def plain_decode_cpu_s(paths: Sequence[Path]) -> float:
    """CPU seconds of one `ffmpeg -threads 1 -i FILE -f null -` of each file."""
    return sum(run_command([ffmpeg_path(), *null_decode(path)]).cpu_s for path in paths)


def run_systems(
    videos: Sequence[BenchVideo], folder: Path, names: Sequence[str]
) -> tuple[dict[str, Row], dict[str, str]]:
    """A row of each system that ran, and the reason of each that did not."""
    rows, failed = {}, {}
    tiny = made_tiny(folder)
    work = folder / "work"
    with file_server(work) as url:
        for name in names:
            print(f"bench curate: {name}", file=sys.stderr, flush=True)
            try:
                rows[name] = _row(SYSTEMS[name], videos, tiny, work, url)
            except PeerFailed as error:
                failed[name] = str(error)
            except subprocess.CalledProcessError as error:
                failed[name] = f"ended with {error.returncode}: {' '.join(str(error.output).split())[-300:]}"
            if name in failed:
                print(f"bench curate: {name} failed: {failed[name]}", file=sys.stderr, flush=True)
    return rows, failed


def _row(system: System, videos: Sequence[BenchVideo], tiny: Path, work: Path, url: str) -> Row:
    start_up = _run(system, Task(clear(work), [tiny], url))
    paths = [video.path for video in videos]
    task = Task(clear(work), paths, url)
    cost = _run(system, task)
    num_frames = {path.name: len(checks.source_frames(path)) for path in paths}
    rates = {path.name: _rate(path) for path in paths}
    clips, recorded = system.read(task, rates)
    by_name = {path.name: path for path in paths}
    truth = {video.path.name: video.cuts for video in videos if video.cuts is not None}
    found = checks.boundaries(clips)
    exact = [checks.is_exact(clip, by_name[clip.source]) for clip in sorted(clips, key=lambda clip: clip.source)]
    verify_s, frames = 0.0, counted_frames(work)
    if system.name.startswith(OURS):
        verify_s = verification_cpu_s(work / "run" / "dataset", work)
        frames = _our_frames(work / "run")
    total = sum(num_frames.values())
    cpu_s = sum(cost.cpu_s.values()) - sum(start_up.cpu_s.values())
    return Row(
        cpu_s=cpu_s - verify_s,
        start_up_s=sum(start_up.cpu_s.values()),
        verify_s=verify_s,
        wall_s=cost.wall_s,
        peak_rss_mb=cost.peak_rss_bytes / 1e6,
        decoded=frames["decoded"] / total,
        encoded=frames["encoded"] / total,
        f1=checks.boundary_f1(found, truth, 0),
        f1_near=checks.boundary_f1(found, truth, 2),
        exact=sum(exact) / len(exact) if exact else 0.0,
        num_clips=len(clips),
        unaccounted_s=checks.unaccounted_s(num_frames, rates, clips, recorded),
    )


def _run(system: System, task: Task) -> TreeCost:
    """Peers run in their own folder, since they write where they stand; ours where we stand, so it is this package."""
    if system.name.startswith(OURS):
        return run_tree(system.command(task), task.folder / "log")
    env = environment(task.folder)
    return run_tree(system.command(task), task.folder / "log", env=env, cwd=task.folder)


def _our_frames(run: Path) -> dict[str, int]:
    """Decoded for key frames and scan, and encoded; verification stands apart."""
    from curate.rundir import read_json

    frames = read_json(run / "metrics.json")["frames"]
    decoded = frames["decoded_keyframes"] + frames["decoded_scan"]
    return {"decoded": decoded, "encoded": frames.get("encoded", 0)}


def _rate(path: Path) -> float:
    """Frames a second by the header."""
    import av

    with av.open(str(path)) as container:
        return float(container.streams.video[0].average_rate or 1)


def _peer_versions(rows: dict[str, Row]) -> dict[str, Any]:
    found = {}
    for name in dict.fromkeys(name.partition(" ")[0] for name in rows if not name.startswith(OURS)):
        venv = peer_venv(name)
        found[name] = f"{venv.version}{' on our torch' if venv.shares_torch and venv.peer.pinned_torch else ''}"
    return found
