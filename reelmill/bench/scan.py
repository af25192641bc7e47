"""What curation without models costs, against one plain decode of the same file.

The files are pinned: 60 s of 1080p H.264 at about 8 and at about 2.5 Mbit/s, three B-frames, a hard cut every 5 s,
camera and object motion and fresh noise in every frame, made by the pinned ffmpeg and kept in a cache folder. The peer
is `ffmpeg -threads 1 -i FILE -f null -`, CPU seconds (user and system). Curation is the command itself (`curate run
curate/scan_only`, one worker, copied clips) in a process of its own. Of three passes, a decode and a curation each, the
one with the median ratio counts. Memory is measured once more on three hours of a small video, since a long one is
where it would grow.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.media.child import MediaChild, MediaConfig
from curate.media.opening import ffmpeg_path
from curate.media.tools import ffmpeg_builds
from reelmill.bench import Measurement
from reelmill.bench.processes import CommandCost, cache_folder, run_command
from shards.facts import machine_facts, package_versions

DURATION_S = 60
REPEATS = 3
LONG_S = 3 * 3600
LIMITS = {
    "cpu_per_decode": 0.95,
    "cpu_per_decode_2_5_mbit": 1.05,
    "decoded_per_source_frame": 1.05,
    "rss_worker_mb": 600.0,
    "rss_driver_mb": 600.0,
    "rss_worker_3h_mb": 600.0,
    "rss_driver_3h_mb": 600.0,
}

_BACKGROUND = (
    "mandelbrot=s=2880x1620:r=30:start_scale=0.012:start_x=-0.7436:start_y=-0.1318:maxiter=400,trim=end_frame=1,"
    "loop=loop=-1:size=1,setpts=N/30/TB,crop=1920:1080:x='480+460*sin(t*0.9)':y='270+260*cos(t*0.7)',"
    r"negate=enable='gte(mod(t\,10)\,5)',noise=alls=9:allf=t:all_seed=1,format=yuv420p"
)
_OBJECT = "testsrc2=s=480x270:r=30"
_OVERLAY = "[0][1]overlay=x='720+600*sin(t*1.3)':y='405+350*cos(t*1.7)'"
_SMALL = r"testsrc2=s=320x180:r=10,hue=h=360*t/60,negate=enable='gte(mod(t\,10)\,5)',format=yuv420p"
_SMALL_S = 60
_X264 = ("-c:v", "libx264", "-preset", "veryfast", "-bf", "3", "-g", "60")
ENCODERS = {
    "h264 8 Mbit/s": (*_X264, *("-b:v", "8M", "-maxrate", "10M", "-bufsize", "16M", "-threads", "2")),
    "h264 2.5 Mbit/s": (*_X264, *("-b:v", "2500k", "-maxrate", "3500k", "-bufsize", "5M", "-threads", "2")),
    "hevc": (
        *("-c:v", "libx265", "-preset", "veryfast", "-g", "60", "-b:v", "5M"),
        *("-x265-params", "log-level=none:bframes=4:pools=2:frame-threads=2"),
    ),
    "vp9": (
        *("-c:v", "libvpx-vp9", "-deadline", "good", "-cpu-used", "5", "-row-mt", "1"),
        *("-g", "60", "-b:v", "5M", "-threads", "2"),
    ),
    "av1": ("-c:v", "libsvtav1", "-preset", "10", "-g", "60", "-b:v", "5M"),
}


@dataclass(frozen=True)
class Pass:
    """One plain decode and one curation of the pinned file, one after the other.

    Attributes:
        decode_cpu_s: of the plain decode.
        cost: of the whole curation command.
        metrics: what the run itself measured.
        verify_cpu_s: of decoding every published clip once more, which packing did as well.
    """

    decode_cpu_s: float
    cost: CommandCost
    metrics: Mapping[str, Any]
    verify_cpu_s: float

    @property
    def step_cpu_s(self) -> dict[str, float]:
        """CPU seconds by step."""
        return {step["step"]: step["cpu_s"] for step in self.metrics["steps"]}

    @property
    def cpu_per_decode(self) -> float:
        """Work without verification and start-up, against the plain decode."""
        return (sum(self.step_cpu_s.values()) - self.verify_cpu_s) / self.decode_cpu_s


def measure() -> Measurement:
    """Run the bench."""
    path, low_rate = (pinned_video(cache_folder(), kind=kind) for kind in ("h264 8 Mbit/s", "h264 2.5 Mbit/s"))
    with tempfile.TemporaryDirectory() as folder:
        passes = [_measured_pass(path, Path(folder) / str(number)) for number in range(REPEATS)]
        low_passes = [_measured_pass(low_rate, Path(folder) / f"low {number}") for number in range(REPEATS)]
        long_cost, _ = curate_cost(long_video(cache_folder(), LONG_S), Path(folder) / "long")
    # Neighbours slow a shared machine for seconds at a time, so each curation stands against the decode beside it.
    median, low_median = _median(passes), _median(low_passes)
    frames = median.metrics["frames"]
    source = frames["source"]
    return Measurement(
        bench="scan",
        figures={
            "cpu_per_decode": median.cpu_per_decode,
            "cpu_per_decode_2_5_mbit": low_median.cpu_per_decode,
            "decoded_per_source_frame": (frames["decoded_keyframes"] + frames["decoded_scan"]) / source,
            "encoded_per_source_frame": frames["encoded"] / source,
            "rss_worker_mb": max(one.cost.rss_others_bytes for one in passes) / 1e6,
            "rss_driver_mb": max(one.cost.rss_own_bytes for one in passes) / 1e6,
            "rss_worker_3h_mb": long_cost.rss_others_bytes / 1e6,
            "rss_driver_3h_mb": long_cost.rss_own_bytes / 1e6,
        },
        limits=LIMITS,
        peers={
            "ffmpeg_null_decode_cpu_s": median.decode_cpu_s,
            "ffmpeg_null_decode_2_5_mbit_cpu_s": low_median.decode_cpu_s,
        },
        details={
            **_parts(median, ""),
            **_parts(low_median, "_2_5_mbit"),
            "start_up_and_rest_cpu_s": median.cost.cpu_s - sum(median.step_cpu_s.values()),
            "command_cpu_s": median.cost.cpu_s,
            "command_wall_s": median.cost.wall_s,
            "source_frames": source,
            "frames_left_out": frames["skipped_scan"],
            "cpu_per_decode_lowest": min(one.cpu_per_decode for one in passes),
            "cpu_per_decode_highest": max(one.cpu_per_decode for one in passes),
            "file_sha256": hashlib.sha256(path.read_bytes()).hexdigest()[:16],
            "file_mbit_s": path.stat().st_size * 8 / DURATION_S / 1e6,
        },
        machine=machine_facts(),
        versions=package_versions() | ffmpeg_builds(None),
    )


def _median(passes: Sequence[Pass]) -> Pass:
    return sorted(passes, key=lambda one: one.cpu_per_decode)[len(passes) // 2]


def _parts(one: Pass, suffix: str) -> dict[str, float]:
    """Where the seconds of a pass went, by name."""
    parts = {f"{step}{suffix}_cpu_s": cpu_s for step, cpu_s in one.step_cpu_s.items()}
    return {**parts, f"of_pack_verification{suffix}_cpu_s": one.verify_cpu_s}


def _measured_pass(path: Path, folder: Path) -> Pass:
    decode_cpu_s = run_command([ffmpeg_path(), *null_decode(path)]).cpu_s
    cost, metrics = curate_cost(path, folder / "run")
    return Pass(decode_cpu_s, cost, metrics, verification_cpu_s(folder / "run" / "dataset", folder))


def pinned_video(folder: Path, duration_s: float = DURATION_S, kind: str = "h264 8 Mbit/s") -> Path:
    """The bench's file, encoded as one of `ENCODERS`."""
    inputs = ("-f", "lavfi", "-i", _BACKGROUND, "-f", "lavfi", "-i", _OBJECT, "-filter_complex", _OVERLAY)
    return made(folder, "scan", [*inputs, "-t", str(duration_s), *ENCODERS[kind]])


def long_video(folder: Path, duration_s: int) -> Path:
    """A minute of 320x180 px at 10 frames a second with a hard cut every 5 s, over and over."""
    minute = ["-f", "lavfi", "-i", _SMALL, "-t", str(_SMALL_S), "-c:v", "libx264", "-preset", "veryfast", "-g", "50"]
    loops = duration_s // _SMALL_S - 1
    return made(folder, "long", ["-stream_loop", str(loops), "-i", str(made(folder, "minute", minute)), "-c", "copy"])


def made_tiny(folder: Path) -> Path:
    """A second of 160x96 px: what start-up is measured on."""
    size = ("-f", "lavfi", "-i", "testsrc2=s=160x96:r=25", "-t", "1", "-c:v", "libx264", "-threads", "1")
    return made(folder, "tiny", size)


def made(folder: Path, name: str, command: Sequence[str]) -> Path:
    """A file of ffmpeg's, made if it is not there; its name holds the hash of the command that makes it."""
    command = [*command, "-fflags", "+bitexact", "-flags:v", "+bitexact"]
    recipe = hashlib.sha256(" ".join(command).encode()).hexdigest()[:8]
    path = folder / f"{name}-{recipe}.mp4"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f".{path.stem}-{os.getpid()}.mp4"
        print(f"making {path} once", file=sys.stderr)
        subprocess.run([ffmpeg_path(), "-nostdin", "-v", "error", "-y", *command, str(partial)], check=True)
        partial.rename(path)
    return path


def curate_cost(path: Path, output: Path) -> tuple[CommandCost, dict[str, Any]]:
    """Curate one file by the command with one worker and no model; its cost and what the run itself measured."""
    command = [sys.executable, "-m", "reelmill", "curate", "run", "curate/scan_only", str(path)]
    cost = run_command([*command, "--output", str(output), "--set", "run.workers=1"])
    return cost, json.loads((output / "metrics.json").read_text())


def verification_cpu_s(dataset: Path, scratch: Path) -> float:
    """CPU seconds of decoding every published clip once more, as packing did before it committed them."""
    import pyarrow.parquet as pq

    with MediaChild(MediaConfig(), scratch / "verify") as child:
        before_s = None
        for index in sorted(dataset.glob("index/**/*.parquet")):
            for row in pq.read_table(index).to_pylist():
                clip = scratch / "clip.mp4"
                with (dataset / row["shard"]).open("rb") as tar:
                    tar.seek(row["mp4_offset"])
                    clip.write_bytes(tar.read(row["mp4_size"]))
                child.call("verify", path=str(clip), num_frames=row["num_frames"])
                if before_s is None:  # the first call imports; once more without that
                    before_s = child.usage.cpu_s
                    child.call("verify", path=str(clip), num_frames=row["num_frames"])
        return child.usage.cpu_s - (before_s or 0.0)


def null_decode(path: Path) -> list[str]:
    """Arguments of ffmpeg for the peer: decode with one thread and throw away."""
    return ["-nostdin", "-v", "error", "-threads", "1", "-i", str(path), "-f", "null", "-"]
