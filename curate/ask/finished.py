"""A finished run as questions see it: its catalog, the configuration it ran with, and other rules to try on it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
import yaml

from curate.config import CurateConfig
from curate.decision.unscored import lacks
from curate.pipeline import Pipeline
from curate.rundir import RunDir
from curate.stage import Stage
from shards.config import apply_overrides, parse_config
from shards.errors import ConfigError
from shards.schema import SEGMENT_CLIP

pc: Any = pyarrow.compute  # its stubs refuse the plain values that the functions take


# Parts of the configuration whose change leaves the clips as they are.
_STAGES = ("motion", "light", "borders", "embed", "aesthetic", "caption", "caption_similarity")


@dataclass(frozen=True)
class FinishedRun:
    """What a run left behind.

    Attributes:
        run_dir: where it lies.
        pipeline: of the configuration that it ran with.
        videos, clips: the catalog with its decisions and without vectors; a column that it does not have is all null.
        missing: column -> bool per row of `clips`, true where its stage did not score the clip.
        columns: names of all columns of the catalog's clips, vectors included, in order.
    """

    run_dir: RunDir
    pipeline: Pipeline
    videos: pa.Table
    clips: pa.Table
    missing: Mapping[str, np.ndarray]
    columns: Sequence[str]

    @cached_property
    def config(self) -> CurateConfig:
        """What it ran with."""
        return self.pipeline.config

    def with_stages(self, overrides: Sequence[str]) -> Pipeline:
        """The run's pipeline under other rules and other options of its scores and models.

        Raises:
            ConfigError: an override is neither a rule's nor a stage's, or does not fit.
        """
        return Pipeline.of(_overridden(self.config.resolved(), overrides, ("keep", *_STAGES)))

    def with_rules(self, overrides: Sequence[str]) -> Pipeline:
        """The run's pipeline under other rules.

        Raises:
            ConfigError: an override is no rule's, or a rule does not compile.
        """
        return Pipeline.of(_overridden(self.config.resolved(), overrides, ("keep",)))


def finished_run(directory: Path) -> FinishedRun:
    """Read the catalog and the configuration of a run.

    Raises:
        ConfigError: the folder holds no finished run.
    """
    run_dir = RunDir(directory.resolve())
    run_dir.require_run()
    path = run_dir.root / "config.yaml"
    if not path.is_file():
        raise ConfigError(f"{path} is absent; every finished run has one; restore it, or run `reelmill curate run`")
    config = parse_config(CurateConfig, yaml.safe_load(path.read_text(encoding="utf-8")), str(path))
    pipeline = Pipeline.of(config)
    # Vectors (embeddings) are most of a catalog's bytes, and no rule can read them.
    schema = pq.read_schema(run_dir.catalog("clips"))
    flat = [field.name for field in schema if not pa.types.is_nested(field.type)]
    videos, clips = pq.read_table(run_dir.catalog("videos")), pq.read_table(run_dir.catalog("clips"), columns=flat)
    clips, missing = missing_scores(clips, pipeline.stages)
    return FinishedRun(run_dir, pipeline, videos, clips, missing, schema.names)


def missing_scores(clips: pa.Table, stages: Sequence[Stage]) -> tuple[pa.Table, dict[str, np.ndarray]]:
    """The table with every column of the stages, and where each was never computed.

    A null that a stage gave (too short, no captioner) is an answer; one of a stage that never saw the clip is none: its
    column is named in `not_scored`, or absent from the catalog.

    Args:
        clips: rows of the catalog.
        stages: those of the pipeline.

    Returns:
        The table, and column -> bool per row for columns with a missing value.
    """
    is_clip_N = pc.equal(clips["segment"], SEGMENT_CLIP).to_numpy(zero_copy_only=False)
    missing: dict[str, np.ndarray] = {}
    for field in (field for stage in stages for field in stage.adds if not pa.types.is_nested(field.type)):
        missing_N = lacks(clips, [field.name])
        if field.name not in clips.column_names:
            clips, missing_N = clips.append_column(field, pa.nulls(len(clips), field.type)), is_clip_N
        if missing_N.any():
            missing[field.name] = missing_N
    return clips, missing


def _overridden(data: Mapping[str, Any], overrides: Sequence[str], allowed: Sequence[str]) -> CurateConfig:
    for override in overrides:
        if override.partition("=")[0].partition(".")[0] not in allowed:
            names = (
                f"rules can be tried, as --set keep.NAME=…{', and ' + ', '.join(_STAGES) if len(allowed) > 1 else ''}"
            )
            raise ConfigError(
                f"override is {override!r}; on a finished run only {names}; run `reelmill curate run` for anything else"
            )
    return parse_config(CurateConfig, apply_overrides(data, overrides), "the run's config with --set")
