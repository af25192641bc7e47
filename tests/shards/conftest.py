"""Small real datasets: clips drawn with PyAV whose brightness says the frame number."""

import io
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pyarrow as pa
import pytest

from shards.format.commit import Commit, commit_shard
from shards.format.index import ROW
from shards.schema import column
from shards.versions.manifest import Manifest
from shards.versions.publish import publish
from shards.versions.splits import SplitConfig

PLAN_ID = "ab" * 32
MOTION = column("motion", pa.float32(), "levels/s", "0 is a still.")


X264 = {"bf": "2", "crf": "10", "threads": "1"}
X265_OPEN = {"x265-params": "open-gop=1:bframes=3:b-adapt=0:scenecut=0:crf=8:pools=none:frame-threads=1:log-level=none"}


def draw_mp4(
    num_frames: int = 24, rate: int = 8, height: int = 48, width: int = 64, gop: int = 12, codec: str = "libx264"
) -> bytes:
    """A clip whose frame i has luma 16 + 8 * i everywhere (H.264 with B-frames, or HEVC with open groups)."""
    sink = io.BytesIO()
    with av.open(sink, "w", format="mp4") as container:
        options = {"g": str(gop), **(X264 if codec == "libx264" else X265_OPEN)}
        stream = cast(av.VideoStream, container.add_stream(codec, rate=rate, options=options))
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for number in range(num_frames):
            grey_HW = np.full((height * 3 // 2, width), 128, np.uint8)
            grey_HW[:height] = 16 + 8 * (number % 27)
            frame = av.VideoFrame.from_ndarray(grey_HW, format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return sink.getvalue()


def sample_row(key: str, mp4: bytes, **values: Any) -> dict[str, Any]:
    """The row of a drawn clip; PyAV says its time base and pts."""
    with av.open(io.BytesIO(mp4), "r") as container:
        stream = container.streams.video[0]
        pts = [frame.pts for frame in container.decode(stream)]
        base, rate = stream.time_base, stream.average_rate
        assert base is not None
        assert rate is not None
        size = {"height": stream.height, "width": stream.width}
    span = len(pts) / rate
    return {
        "key": key,
        **size,
        "codec": "h264",
        "rotation_deg": 0,
        "sar_num": 1,
        "sar_den": 1,
        "pix_fmt": "yuv420p",
        "num_frames": len(pts),
        "preroll_frames": 0,
        "frame_pts": pts,
        "time_base_num": base.numerator,
        "time_base_den": base.denominator,
        "duration_s": float(span),
        "cut_mode": "encode",
        "caption": f"caption of {key}",
        "caption_source": "sidecar",
        "video_id": f"video-of-{key}",
        "source_uri": f"/videos/{key}.mp4",
        "source_sha256": "0" * 64,
        "source_start_pts": 0,
        "source_end_pts": span.numerator,
        "source_time_base_num": 1,
        "source_time_base_den": span.denominator,
        **values,
    }


def rows_table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    """Rows with one score column."""
    table = pa.Table.from_pylist(list(rows), schema=ROW)
    return table.append_column(MOTION, pa.array([float(number) for number in range(len(rows))], pa.float32()))


@pytest.fixture(scope="session")
def mp4() -> bytes:
    """3 s at 8 frames/s."""
    return draw_mp4()


@pytest.fixture
def commit_clips(tmp_path: Path, mp4: bytes) -> Callable[..., Commit]:
    """commit_clips(shard_no, keys, **columns): one shard of the drawn clip under several names."""

    def commit(shard_no: int, keys: Sequence[str], plan_id: str = PLAN_ID, **values: Any) -> Commit:
        rows = rows_table([sample_row(key, mp4, **values) for key in keys])
        return commit_shard(tmp_path / "dataset", plan_id, shard_no, "toy", rows, [{"mp4": mp4}] * len(keys), tmp_path)

    return commit


@pytest.fixture
def dataset_of(tmp_path: Path, commit_clips: Callable[..., Commit]) -> Callable[..., Manifest]:
    """dataset_of(num_samples, per_shard, **columns): a published version below tmp_path / "dataset"."""

    def build(num_samples: int, per_shard: int = 5, val: float = 0.0, **values: Any) -> Manifest:
        keys = [f"clip-{number:03d}" for number in range(num_samples)]
        groups = [keys[start : start + per_shard] for start in range(0, num_samples, per_shard)]
        commits = [commit_clips(number, group, **values) for number, group in enumerate(groups)]
        return publish(tmp_path / "dataset", commits, {"made_by": "test"}, SplitConfig(val=val))

    return build


@pytest.fixture
def draw() -> Callable[..., bytes]:
    """draw(num_frames, rate, height, width, gop) -> bytes of an MP4."""
    return draw_mp4


@pytest.fixture
def row_of() -> Callable[..., dict[str, Any]]:
    """row_of(key, mp4, **columns) -> the row of a drawn clip."""
    return sample_row
