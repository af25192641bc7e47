"""What a stage is: a named, versioned function from a table to the same rows with more columns.

Three kinds, by what they may see:

    SpanStage    one clip's small frames of the scan (motion, light, borders, hashes)
    FrameStage   sparse model frames of a batch of clips, weights once per actor (embeddings, captions)
    GatherStage  one column of all rows (duplicates)

A stage never drops a row. What it cannot compute is null, with `name:code` in `error`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from curate.columns import joined, with_column, words_of
from curate.scan import Scan, Span
from shards.errors import ClipError, ContractError
from shards.schema import SEGMENT_CLIP, time_base

SOURCE_COLUMNS = ("uri", "sidecar_caption")  # columns of VIDEO that frame stages may read


@dataclass(frozen=True)
class Clip:
    """One row of CLIP, as a stage sees it."""

    clip_id: str
    video_id: str
    start_pts: int
    end_pts: int
    time_base: Fraction
    row: Mapping[str, Any]

    @property
    def duration_s(self) -> float:
        """For display and rates; data keeps pts."""
        return float((self.end_pts - self.start_pts) * self.time_base)

    @classmethod
    def of(cls, row: dict[str, Any]) -> "Clip":
        """The clip of a row of CLIP."""
        return cls(row["clip_id"], row["video_id"], row["start_pts"], row["end_pts"], time_base(row), row)


@dataclass(frozen=True)
class ClipFrames:
    """Sparse frames of one clip, for models.

    Attributes:
        clip: the clip.
        pts: presentation time of each frame, in the clip's time base, increasing.
        rgb: uint8 frames of one size, each (H, W, 3), upright.
    """

    clip: Clip
    pts: Sequence[int]
    rgb: Sequence[np.ndarray]


class Stage(ABC):
    """Name, version and columns: what the planner and the keys of resume are made of."""

    name: ClassVar[str]
    version: ClassVar[int] = 1
    adds: pa.Schema
    reads: ClassVar[tuple[str, ...]] = ()

    def identity(self) -> dict[str, Any]:
        """What the stage's values depend on besides its input: goes into the plan id."""
        return {"name": self.name, "version": self.version}


class SpanStage(Stage):
    """Scores one clip from its small frames."""

    @abstractmethod
    def score(self, clip: Clip, span: Span) -> Mapping[str, object]:
        """Values for every column of `adds`; a ClipError makes them null with its code."""

    def run(self, clips: pa.Table, scan: Scan) -> pa.Table:
        """All rows, with the columns of `adds`; rows that are no clip get nulls without a code."""
        return run_span_stages([self], clips, scan)


class FrameStage(Stage):
    """Scores a batch of clips from sparse frames; holds weights between `open` and the end of the actor."""

    batch_size: int = 8

    def open(self) -> None:
        """Load weights. Called once per process, before the first batch."""

    @abstractmethod
    def score_batch(self, batch: Sequence[ClipFrames]) -> list[Mapping[str, object] | ClipError]:
        """One mapping (every column of `adds`) or one ClipError per clip, in order."""

    def run(self, clips: pa.Table, frames: Sequence[ClipFrames | ClipError | None]) -> pa.Table:
        """All rows, with the columns of `adds`.

        Batches are cut from the rows that have frames, in row order, so that the executor has no say in them.

        Args:
            clips: rows of CLIP and earlier columns.
            frames: per row its frames, the reason why it has none, or None for a row that is not to be scored.
        """
        values: list[Mapping[str, object] | ClipError | None] = [
            item if isinstance(item, ClipError) else None for item in frames
        ]
        todo = [index for index, item in enumerate(frames) if isinstance(item, ClipFrames)]
        for start in range(0, len(todo), self.batch_size):
            indices = todo[start : start + self.batch_size]
            batch = [item for item in (frames[index] for index in indices) if isinstance(item, ClipFrames)]
            for index, value in zip(indices, self.score_batch(batch), strict=True):
                values[index] = value
        return append(clips, self, values)


class GatherStage(Stage):
    """Needs one column of all rows."""

    @abstractmethod
    def gather(self, clips: pa.Table) -> pa.Table:
        """All rows, with the columns of `adds`."""


def run_span_stages(stages: Sequence[SpanStage], clips: pa.Table, scan: Scan) -> pa.Table:
    """Run several span stages over the clips of one video, reading each clip's frames once."""
    results: list[list[Mapping[str, object] | ClipError | None]] = [[] for _ in stages]
    for row in clips.to_pylist():
        if row["segment"] != SEGMENT_CLIP:
            for values in results:
                values.append(None)
            continue
        clip = Clip.of(row)
        span = scan.of(clip.start_pts, clip.end_pts)
        for stage, values in zip(stages, results, strict=True):
            try:
                values.append(stage.score(clip, span))
            except ClipError as error:
                values.append(error)
    for stage, values in zip(stages, results, strict=True):
        clips = append(clips, stage, values)
    return clips


def append(table: pa.Table, stage: Stage, values: Sequence[Mapping[str, object] | ClipError | None]) -> pa.Table:
    """Add a stage's columns to a table: null with a code in `error` for errors, plain null for None.

    Raises:
        ContractError: a column exists already, or a mapping's keys are not exactly the columns of `adds`.
    """
    taken = sorted(set(stage.adds.names) & set(table.column_names))
    if taken:
        raise ContractError(f"stage {stage.name} adds {taken}, which exist; a column is added once; rename one")
    for value in values:
        if isinstance(value, Mapping) and set(value) != set(stage.adds.names):
            raise ContractError(
                f"stage {stage.name} gave {sorted(value)}; it declares {sorted(stage.adds.names)}; fix it"
            )
    for field in stage.adds:
        cells = [value[field.name] if isinstance(value, Mapping) else None for value in values]
        table = table.append_column(field, pa.array(cells, type=field.type))
    codes = [f"{stage.name}:{value.code}" if isinstance(value, ClipError) else None for value in values]
    if any(codes):
        table = _add_codes(table, codes)
    return table


def _add_codes(table: pa.Table, codes: Sequence[str | None]) -> pa.Table:
    pairs = zip(table["error"].to_pylist(), codes, strict=True)
    cells = [joined([*words_of(before), *words_of(code)]) for before, code in pairs]
    return with_column(table, "error", pa.array(cells, type=pa.string()))
