"""Scores that another file of model columns holds already: what a new or changed stage need not compute again.

A model's value depends on its own identity, on those whose columns it reads, on how frames were taken, and on the clip
with what came with its source. Where all of that is as it was, its cells are taken over; the others are computed.
"""

from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from curate.columns import joined, with_columns, words_of
from curate.decision.unscored import lacks
from curate.pipeline import Pipeline
from curate.rundir import RunDir, read_json
from curate.stage import SOURCE_COLUMNS, FrameStage, Stage
from shards.ids import digest
from shards.schema import strings

pc: Any = pyarrow.compute  # its stubs refuse the plain values that the functions take


def model_keys(pipeline: Pipeline) -> dict[str, str]:
    """Stage -> key of its values: another key, other values."""
    taken = digest([pipeline.config.media.resolved(), pipeline.config.scan.resolved()])
    keys: dict[str, str] = {}
    for stage in pipeline.configured_models:
        read = sorted(
            keys[other.name] for other in pipeline.configured_models if _reads(stage, other) and other.name in keys
        )
        spans = [other.identity() for other in pipeline.span_stages if _reads(stage, other)]
        keys[stage.name] = digest([taken, stage.identity(), read, spans])
    return keys


class Earlier:
    """Files of model columns that earlier configurations left in a run directory."""

    def __init__(self, run_dir: RunDir, pipeline: Pipeline) -> None:
        self.run_dir, self.pipeline = run_dir, pipeline
        self.keys = model_keys(pipeline)

    def taken_over(self, part_name: str, name: str, clips: pa.Table, costs: dict[str, Any]) -> pa.Table:
        """Unscored clips of a part with all cells that can be taken over.

        Args:
            part_name: of the part.
            name: of its file of model columns, which is not there yet.
            clips: its rows, with the columns of all models.
            costs: of the part by stage; those of the same part's taken stages are kept.
        """
        for file in self._candidates(part_name, strings(clips, "video_id"), name):
            record = read_json(self.run_dir.costs("models", file))
            same = [stage for stage in self.pipeline.configured_models if self._is_same(stage, record)]
            if not same:
                continue
            old = pq.read_table(self.run_dir.part("models", file))
            allowed = self._unchanged(part_name, file.rpartition("-")[0])
            for stage in same:
                clips = _with_cells(clips, old, stage, allowed)
                if file.startswith(f"{part_name}-") and stage.name in record["steps"]:
                    costs.setdefault(stage.name, record["steps"][stage.name])
        return clips

    def _is_same(self, stage: FrameStage, record: Mapping[str, Any]) -> bool:
        return record.get("keys", {}).get(stage.name) == self.keys[stage.name]

    def _candidates(self, part_name: str, video_ids: Collection[str], but: str) -> list[str]:
        """Files of this part and of parts that held one of its videos; the newest first."""
        if not self._files_of:
            return []
        owners = {part_name} | {name for video_id in set(video_ids) for name in self._parts_of.get(video_id, ())}
        files = [file for owner in sorted(owners) for file in self._files_of.get(owner, ()) if file.stem != but]
        there = [file for file in files if file.is_file() and self.run_dir.costs("models", file.stem).is_file()]
        return [file.stem for file in sorted(there, key=lambda file: -file.stat().st_mtime_ns)]

    @cached_property
    def _files_of(self) -> dict[str, list[Path]]:
        """Part -> its files of other identities than this run's, as they were at the start."""
        found: dict[str, list[Path]] = {}
        for file in self.run_dir.part("models", "*").parent.glob("*-*.parquet"):
            part_name, _, identity = file.stem.rpartition("-")
            if not self.pipeline.model_identity.startswith(identity):
                found.setdefault(part_name, []).append(file)
        return found

    @cached_property
    def _parts_of(self) -> dict[str, list[str]]:
        """video_id -> parts that hold or held it."""
        found: dict[str, list[str]] = {}
        for path in sorted(self.run_dir.costs("scan", "*").parent.glob("scan-*.json")):
            for item in read_json(path).get("inputs", []):
                found.setdefault(item["video_id"], []).append(path.stem.removeprefix("scan-"))
        return found

    def _unchanged(self, part_name: str, other: str) -> set[str]:
        """Videos with which the same came in both parts."""
        names = ["video_id", *SOURCE_COLUMNS]
        paths = [self.run_dir.part("videos", part) for part in (part_name, other)]
        if not all(path.is_file() for path in paths):
            return set()
        one, two = ({tuple(row.values()) for row in pq.read_table(path, columns=names).to_pylist()} for path in paths)
        return {row[0] for row in one & two}


def _reads(stage: Stage, other: Stage) -> bool:
    return not set(stage.reads).isdisjoint(other.adds.names)


def _with_cells(clips: pa.Table, old: pa.Table, stage: FrameStage, allowed: Collection[str]) -> pa.Table:
    """The clips with a stage's columns, codes and marks of another table where that has them and these do not."""
    names = stage.adds.names
    place = pc.index_in(clips["clip_id"].combine_chunks(), value_set=old["clip_id"].combine_chunks())
    has_N = pc.is_in(clips["video_id"], value_set=pa.array(sorted(allowed), pa.string())).to_numpy(zero_copy_only=False)
    has_N = has_N & place.is_valid().to_numpy(zero_copy_only=False) & lacks(clips, names)
    place_N = place.fill_null(0).to_numpy()
    rows = np.flatnonzero(has_N & ~lacks(old, names)[place_N]) if len(old) else np.array([], int)
    if not len(rows):
        return clips
    order_N = np.arange(len(clips))
    order_N[rows] = len(clips) + place_N[rows]
    both = pa.concat_tables([clips.select(names), old.select(names).cast(clips.select(names).schema)]).take(order_N)
    marks, errors = clips["not_scored"].to_pylist(), clips["error"].to_pylist()
    old_errors = old["error"].to_pylist()
    for row in rows.tolist():
        marks[row] = joined(name for name in words_of(marks[row]) if name not in names)
        codes = [code for code in words_of(old_errors[place_N[row]]) if code.startswith(f"{stage.name}:")]
        errors[row] = joined([*words_of(errors[row]), *codes])
    words = [(name, pa.array(cells, pa.string())) for name, cells in (("not_scored", marks), ("error", errors))]
    return with_columns(clips, [*((name, both[name]) for name in names), *words])
