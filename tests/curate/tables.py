"""Small tables of VIDEO and CLIP rows for tests of decisions."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from shards.ids import clip_id
from shards.schema import CLIP, VIDEO, column, from_rows

SCORES = pa.schema([column("motion", pa.float32(), "", ""), column("is_duplicate", pa.bool_(), "", "")])


def video(name: str, end_pts: int | None = 100, **values: Any) -> dict[str, Any]:
    """A row of VIDEO that was scanned: [0, end_pts) at 25 frames/s."""
    span = {"start_pts": 0, "end_pts": end_pts} if end_pts is not None else {}
    row = {"uri": f"/{name}.mp4", "video_id": name, "time_base_num": 1, "time_base_den": 25, "status": "ok"}
    return {**row, **span, **values}


def clip(name: str, start_pts: int, end_pts: int, segment: str = "clip", **values: Any) -> dict[str, Any]:
    """A row of CLIP with scores."""
    return {
        "clip_id": clip_id(name, 0, start_pts, end_pts),
        "video_id": name,
        "stream_index": 0,
        "start_pts": start_pts,
        "end_pts": end_pts,
        "time_base_num": 1,
        "time_base_den": 25,
        "num_frames": end_pts - start_pts,
        "segment": segment,
        **values,
    }


def videos_of(*rows: Mapping[str, Any]) -> pa.Table:
    """Rows of VIDEO as a table."""
    return from_rows(map(dict, rows), VIDEO)


def clips_of(*rows: Mapping[str, Any], extra: Sequence[pa.Field] = tuple(SCORES)) -> pa.Table:
    """Rows of CLIP and scores as a table."""
    return from_rows(map(dict, rows), pa.schema([*CLIP, *extra]))
