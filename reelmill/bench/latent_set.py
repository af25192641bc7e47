"""The set that latents are measured on: random half floats of 64 KiB, a row and a caption, a hundred to a shard."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from shards.format.commit import Commit, commit_shard
from shards.format.index import ROW, sample_json, sample_text
from shards.format.npy import npy_bytes
from shards.versions.publish import publish
from shards.versions.splits import SplitConfig

SHAPE_CTHW = (4, 8, 32, 32)  # 64 KiB of half floats
FRAMES, RATE = 29, 24  # of the video that such a latent would be of
PLAN_ID = "be" * 32


def publish_latents(folder: Path, num_shards: int, per_shard: int) -> Path:
    """The set as a published dataset below a folder; the path of the dataset."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        commits = [commit_latents(folder / "dataset", number, per_shard, Path(scratch)) for number in range(num_shards)]
    publish(folder / "dataset", commits, {"made_by": "bench"}, SplitConfig(val=0.0))
    return folder / "dataset"


def commit_latents(dataset: Path, shard_no: int, per_shard: int, scratch: Path) -> Commit:
    """One shard of the set."""
    rows = [latent_row(f"clip-{shard_no:04d}-{number:04d}") for number in range(per_shard)]
    members = [{"latent.npy": latent} for latent in latents(shard_no, per_shard)]
    table = pa.Table.from_pylist(rows, schema=ROW)
    return commit_shard(dataset, PLAN_ID, shard_no, "latents", table, members, scratch)


def latents(seed: int, count: int) -> Iterator[bytes]:
    """Arrays as .npy; random bits but for the largest exponents, so that all are finite and none compresses."""
    generator = np.random.default_rng(seed)
    for _ in range(count):
        bits = generator.integers(0, 1 << 16, SHAPE_CTHW, np.uint16) & np.uint16(0xBFFF)
        yield npy_bytes(bits.view(np.float16))


def whole_samples(count: int) -> list[dict[str, bytes]]:
    """All members of samples, in memory: what writing is measured on."""
    rows = [latent_row(f"clip-{number:06d}") for number in range(count)]
    return [
        {"json": sample_json(row), "latent.npy": latent, "txt": sample_text(row)}
        for row, latent in zip(rows, latents(0, count), strict=True)
    ]


def latent_row(key: str) -> dict[str, Any]:
    """The row of a sample."""
    return {
        **dict.fromkeys(ROW.names),
        "key": key, "codec": "h264", "width": 256, "height": 256, "rotation_deg": 0, "sar_num": 1, "sar_den": 1,
        "pix_fmt": "yuv420p", "num_frames": FRAMES, "preroll_frames": 0, "frame_pts": [n * 512 for n in range(FRAMES)],
        "time_base_num": 1, "time_base_den": 512 * RATE, "duration_s": FRAMES / RATE, "cut_mode": "encode",
        "caption": f"a red circle moves from left to right before a grey wall, number {key}",
        "caption_source": "sidecar", "video_id": key, "source_uri": f"videos/{key}.mp4", "source_sha256": "0" * 64,
        "source_start_pts": 0, "source_end_pts": FRAMES, "source_time_base_num": 1, "source_time_base_den": RATE,
    }  # fmt: skip
