"""Making a run forget single results, so that the next run computes them and nothing else."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from curate.columns import joined, with_column, words_of
from curate.modelling import models_name
from curate.parts import finished_parts
from curate.pipeline import Pipeline
from curate.rundir import RunDir, read_json, write_json, write_table
from curate.stage import FrameStage

pc: Any = pyarrow.compute  # its stubs refuse the plain values that the functions take


def forget_inputs(run_dir: RunDir, pipeline: Pipeline, uris: Collection[str]) -> int:
    """Let the next run look at these inputs anew; returns in how many parts they were.

    Args:
        run_dir: of the run.
        pipeline: of its configuration.
        uris: of the inputs.
    """
    touched = 0
    for name in finished_parts(run_dir):
        path = run_dir.costs("scan", name)
        record = read_json(path)
        left = [item for item in record.get("inputs", []) if item["uri"] not in uris]
        if len(left) == len(record.get("inputs", [])):
            continue
        touched += 1
        if left:
            write_json(path, record | {"inputs": left})
            continue
        # A new part of the same inputs has the same name, so the files of one that is forgotten as a whole must go.
        models = models_name(name, pipeline)
        steps = [("videos", name), ("clips", name), ("frames", name), ("models", models)]
        for file in [path, run_dir.costs("models", models), *(run_dir.part(*step) for step in steps)]:
            file.unlink(missing_ok=True)
    return touched


def forget_scores(run_dir: RunDir, pipeline: Pipeline, stage_name: str, clip_ids: Collection[str]) -> None:
    """Let the next run compute a model's scores of some clips again, and all that other models made of them.

    Args:
        run_dir: of the run.
        pipeline: of its configuration.
        stage_name: of the model stage.
        clip_ids: of the clips.
    """
    for name in finished_parts(run_dir):
        path = run_dir.part("models", models_name(name, pipeline))
        if not path.is_file():
            continue
        before = after = pq.read_table(path)
        for stage in dependents(pipeline.frame_stages, stage_name):
            after = without_scores(after, stage, clip_ids)
        if not after.equals(before):
            write_table(path, after)


def dependents(stages: Sequence[FrameStage], name: str) -> list[FrameStage]:
    """A stage and all later ones that read what it adds, or what these add."""
    found: list[FrameStage] = []
    stale: set[str] = set()
    for stage in stages:
        if stage.name == name or stale & set(stage.reads):
            found.append(stage)
            stale |= set(stage.adds.names)
    return found


def without_scores(clips: pa.Table, stage: FrameStage, clip_ids: Collection[str]) -> pa.Table:
    """Rows with a stage's columns null and named in `not_scored`, and without its codes, for these clips."""
    chosen = pc.is_in(clips["clip_id"], value_set=pa.array(sorted(clip_ids), pa.string())).combine_chunks()
    for field in stage.adds:
        clips = with_column(clips, field.name, pc.if_else(chosen, pa.scalar(None, field.type), clips[field.name]))
    cells = clips.select(["not_scored", "error"]).to_pylist()
    for row in np.flatnonzero(chosen.to_numpy(zero_copy_only=False)).tolist():
        codes = [code for code in words_of(cells[row]["error"]) if code.partition(":")[0] != stage.name]
        lacking = joined([*words_of(cells[row]["not_scored"]), *stage.adds.names])
        cells[row] = {"not_scored": lacking, "error": joined(codes)}
    for name in ("not_scored", "error"):
        clips = with_column(clips, name, pa.array([cell[name] for cell in cells], pa.string()))
    return clips
