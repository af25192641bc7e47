"""What a loader of clips costs against the bare decode of the same frames; and reading their bytes in order.

The set: one clip of 3 s at 256x256 (H.264, three B-frames) under many keys, made by the pinned ffmpeg. CPU seconds,
user and system, of this process, median of the repeats, the ways taking turns. Our loader without workers gives 16
frames at 8 fps of 128x128; PyAV seeks to the first of these frames and decodes to the last, and makes no picture of
them. Reading gives all members of every sample, by index, with xxh3.
"""

import io
import itertools
import statistics
import subprocess
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow as pa

from curate.media.opening import ffmpeg_path
from shards.format.commit import commit_shard
from shards.format.index import ROW
from shards.plans.plan import PlanConfig, sample_generator
from shards.plans.view import ViewConfig
from shards.reading.config import ReadingConfig
from shards.reading.reader import ShardDataset, open_dataset
from shards.versions.publish import publish
from shards.versions.splits import SplitConfig

SIZE_PX, RATE, DURATION_S = 256, 24, 3
VIEW = ViewConfig(num_frames=16, fps=8, height=128, width=128)


def clip_figures(folder: Path, num_samples: int, repeats: int) -> dict[str, float]:
    """`video_vs_bare_decode` and its parts; ms per sample."""
    dataset = make_dataset(folder, num_samples)
    steps = num_samples // 8
    plan = dataset.plan(PlanConfig(global_batch=8), VIEW)
    chosen = [(int(number), 0) for step in range(steps) for number in plan.batch(0, step).ids_B]
    ways: dict[str, Callable[[], object]] = {
        "read": lambda: [dataset.read(number) for number in range(num_samples)],
        "video": lambda: _load(dataset, steps),
        "bare_decode": lambda: [_bare_decode(dataset, *sample) for sample in chosen],
    }
    for way in ways.values():  # imports and page cache
        way()
    cpu_ms: dict[str, list[float]] = {name: [] for name in ways}
    for _, (name, way) in itertools.product(range(repeats), ways.items()):
        before_s = time.process_time()
        way()
        cpu_ms[name].append((time.process_time() - before_s) * 1000 / num_samples)
    median = {f"{name}_cpu_ms_per_clip": statistics.median(values) for name, values in cpu_ms.items()}
    ratios = [video / bare for video, bare in zip(cpu_ms["video"], cpu_ms["bare_decode"], strict=True)]
    return {"video_vs_bare_decode": statistics.median(ratios), **median}


def make_dataset(folder: Path, num_samples: int) -> ShardDataset:
    """Publish the set below a folder."""
    clip = folder / "clip.mp4"
    source = f"testsrc2=s={SIZE_PX}x{SIZE_PX}:r={RATE},noise=alls=6:allf=t:all_seed=1"
    encoder = ("-c:v", "libx264", "-preset", "veryfast", "-bf", "3", "-g", "48", "-pix_fmt", "yuv420p", "-threads", "1")
    command = [ffmpeg_path(), "-nostdin", "-v", "error", "-f", "lavfi", "-i", source, "-t", str(DURATION_S)]
    subprocess.run([*command, *encoder, str(clip)], check=True)
    mp4 = clip.read_bytes()
    rows = [_row(f"clip-{number:06d}", mp4) for number in range(num_samples)]
    table = pa.Table.from_pylist(rows, schema=ROW)
    commit = commit_shard(folder / "clips", "be" * 32, 0, "bench", table, [{"mp4": mp4}] * num_samples, folder)
    publish(folder / "clips", [commit], {"made_by": "bench"}, SplitConfig(val=0.0))
    return open_dataset(folder / "clips")


def _row(key: str, mp4: bytes) -> dict[str, Any]:
    from shards.reading.decode import presented_pts

    pts = presented_pts(mp4)
    base = Fraction(pts[1] - pts[0]) * RATE  # pts per second
    return {
        "key": key, "codec": "h264", "width": SIZE_PX, "height": SIZE_PX, "rotation_deg": 0, "sar_num": 1, "sar_den": 1,
        "pix_fmt": "yuv420p", "num_frames": len(pts), "preroll_frames": 0, "frame_pts": pts, "time_base_num": 1,
        "time_base_den": int(base), "duration_s": float(DURATION_S), "cut_mode": "encode", "caption": f"clip {key}",
        "caption_source": "sidecar", "video_id": key, "source_uri": key, "source_sha256": "0" * 64,
        "source_start_pts": 0, "source_end_pts": DURATION_S, "source_time_base_num": 1, "source_time_base_den": 1,
    }  # fmt: skip


def _load(dataset: ShardDataset, steps: int) -> None:
    from shards.reading.batch import loader

    batches = loader(dataset, dataset.plan(PlanConfig(global_batch=8), VIEW), VIEW, reading=ReadingConfig())
    for _ in range(steps):
        next(batches)


def _bare_decode(dataset: ShardDataset, sample_id: int, epoch: int) -> None:
    import av

    from shards.reading.decode import wanted_pts

    wanted_T = wanted_pts(dataset.row(sample_id), VIEW, sample_generator(0, epoch, sample_id))
    with av.open(io.BytesIO(dataset.read_member(sample_id, "mp4")), "r", format="mp4") as container:
        stream = container.streams.video[0]
        stream.thread_count, stream.thread_type = 1, "NONE"
        container.seek(wanted_T[0], stream=stream, backward=True)
        for frame in container.decode(stream):
            if frame.pts is not None and frame.pts >= wanted_T[-1]:
                return
