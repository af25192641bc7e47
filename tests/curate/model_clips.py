"""Tables of clips and spooled frames for the tests of the model stages."""

from collections.abc import Sequence

import cv2
import numpy as np
import pyarrow as pa

from curate.stage import Clip, ClipFrames
from shards.schema import CLIP, column, from_rows

JOINED = pa.schema([*CLIP, column("uri", pa.string(), "", ""), column("sidecar_caption", pa.string(), "", "")])


def clip_row(number: int, **changes: object) -> dict[str, object]:
    """A clip of 100 pts (milliseconds) that starts at 100 times its number."""
    row = {
        "clip_id": f"{number:016x}",
        "video_id": "v",
        "stream_index": 0,
        "start_pts": 100 * number,
        "end_pts": 100 * number + 100,
        "time_base_num": 1,
        "time_base_den": 1000,
        "num_frames": 10,
        "segment": "clip",
        "start_kind": "cut",
        "end_kind": "cut",
        "uri": "/videos/a.mp4",
        "sidecar_caption": None,
    }
    return {**row, **changes}


def clips_table(rows: Sequence[dict[str, object]]) -> pa.Table:
    """Rows of CLIP with the source's uri and text."""
    return from_rows(rows, JOINED)


def frames_of(row: dict[str, object], num_frames: int = 16, seed: int | None = None) -> ClipFrames:
    """A clip with frames of noise, each clip its own."""
    start = row["start_pts"]
    assert isinstance(start, int)
    noise = np.random.default_rng(start if seed is None else seed)
    # smooth noise: small pictures differ even after a model has shrunk them
    rgb = [cv2.resize(noise.integers(0, 256, (4, 6, 3), np.uint8), (96, 64)) for _ in range(num_frames)]
    return ClipFrames(Clip.of(row), [start + 6 * index for index in range(num_frames)], rgb)


def jpeg(rgb_HWC: np.ndarray) -> bytes:
    """A spooled frame."""
    done, data = cv2.imencode(".jpg", cv2.cvtColor(rgb_HWC, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 95])
    assert done
    return data.tobytes()
