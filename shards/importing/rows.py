"""Probed clips to rows of the index: media columns from the bytes, score columns from the numbers that came along."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import pyarrow as pa

from shards.format.index import ROW
from shards.ids import digest
from shards.importing.items import Item
from shards.schema import SAMPLE, column

FRAME_BUCKETS = (1, 8, 16, 32, 64, 128, 256, 512)
ID_DIGITS = 16


@dataclass(frozen=True)
class Probed:
    """A clip and what its bytes say.

    Attributes:
        item: the clip.
        key: of the sample.
        sha256: of the bytes.
        facts: see `probe_clip`.
    """

    item: Item
    key: str
    sha256: str
    facts: Mapping[str, Any]

    @property
    def bucket(self) -> str:
        """`<frames>x<height>x<width>`: floor of the frame count, size as it is displayed."""
        facts = self.facts
        frames = max(floor for floor in FRAME_BUCKETS if floor <= facts["num_frames"])
        height, width = facts["height"], round(facts["width"] * Fraction(facts["sar_num"], facts["sar_den"]))
        if facts["rotation_deg"] % 180:
            height, width = width, height
        return f"{frames}x{height}x{width}"


def rows_table(clips: Sequence[Probed], cut_mode: str, licence: str | None, scores: Mapping[str, pa.Field]) -> pa.Table:
    """Rows as `commit_shard` takes them.

    Args:
        clips: of one shard, in order.
        cut_mode: `import`, or `adopted` where the whole tar stays.
        licence: of all of them, if stated.
        scores: name of a value -> its column.
    """
    rows = [_row(clip, cut_mode, licence) | _scores(clip.item.values, scores) for clip in clips]
    return pa.Table.from_pylist(rows, schema=pa.schema([*ROW, *scores.values()]))


def score_columns(items: Iterable[Item]) -> tuple[dict[str, pa.Field], list[str]]:
    """Columns for the values that are numbers wherever they occur, and the names of those that are not taken.

    A column that the contract has already (width, duration_s, …) is not taken from outside: the bytes tell.
    """
    kinds: dict[str, set[type]] = {}
    for item in items:
        for name, value in item.values.items():
            kinds.setdefault(str(name), set()).add(type(value))
    scores: dict[str, pa.Field] = {}
    left: list[str] = []
    taken = {*SAMPLE.names, "id", "end_pts"}
    for name, found in kinds.items():
        clean = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
        found = found - {type(None)}
        if not clean or not clean[0].isalpha() or clean in taken or not found or not found <= {int, float, bool}:
            left.append(name)
            continue
        taken.add(clean)
        dtype = pa.bool_() if found == {bool} else pa.float64()
        scores[name] = column(clean, dtype, "", f"{name!r} of the imported dataset.")
    return scores, left


def _row(clip: Probed, cut_mode: str, licence: str | None) -> dict[str, Any]:
    facts, item = clip.facts, clip.item
    base = Fraction(facts["time_base_num"], facts["time_base_den"])
    own = {name: facts[name] for name in ROW.names if name in facts}
    whole = item.source is None  # the clip is its own source
    return own | {
        "key": clip.key,
        "cut_mode": cut_mode,
        "duration_s": float((facts["end_pts"] - facts["frame_pts"][0]) * base),
        "caption": item.caption,
        "caption_source": None if item.caption is None else "sidecar",
        "video_id": clip.sha256[:ID_DIGITS] if whole else digest(["source", item.source])[:ID_DIGITS],
        "source_uri": item.name if whole else item.source,
        "source_sha256": clip.sha256 if whole else None,
        "source_start_pts": facts["frame_pts"][0],
        "source_end_pts": facts["end_pts"],
        "source_time_base_num": base.numerator,
        "source_time_base_den": base.denominator,
        "licence": licence,
    }


def _scores(values: Mapping[str, Any], scores: Mapping[str, pa.Field]) -> dict[str, Any]:
    return {field.name: _finite(values.get(name), field.type) for name, field in scores.items()}


def _finite(value: Any, dtype: pa.DataType) -> Any:
    if value is None or pa.types.is_boolean(dtype):
        return value
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
