"""What the report is made from: the files of one run directory, each read once; only the catalog must be there."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from curate.rundir import RunDir
from shards.schema import CLIP, DECISION, SEGMENT_CLIP, STATUS_KEPT
from shards.storage.store import open_store
from shards.versions.manifest import Manifest, read_manifest, versions


@dataclass(frozen=True)
class RunData:
    """One run, as the report sees it.

    Attributes:
        videos: VIDEO rows.
        clips: CLIP rows with score and decision columns.
        config: resolved configuration, as text and as values.
        metrics, plan: JSON of the run; {} where a file is absent.
        manifest: the newest version of the dataset; None if nothing is published.
    """

    root: Path
    videos: pa.Table
    clips: pa.Table
    config_text: str
    config: dict[str, Any]
    metrics: dict[str, Any]
    plan: dict[str, Any]
    manifest: Manifest | None

    @property
    def rules(self) -> dict[str, str]:
        """Rules by name, in the order in which they decide: that of the steps, then that of the configuration."""
        keep = self.config.get("keep")
        texts = {str(name): str(text) for name, text in keep.items()} if isinstance(keep, dict) else {}
        fired = [name for step in self.plan.get("steps", []) for name in step.get("rules") or [] if name in texts]
        return {name: texts[name] for name in dict.fromkeys([*fired, *texts])}

    @property
    def candidates(self) -> pa.Table:
        """The rows of `clips` that are clips: all that scores and rules speak about."""
        return self.clips.filter(texts(self.clips, "segment") == SEGMENT_CLIP)


def load_run(run_dir: Path) -> RunData:
    """Read a finished run.

    Raises:
        ConfigError: the folder holds no catalog.
        ContractError: the dataset's manifest was changed.
    """
    run = RunDir(run_dir)
    run.require_run()
    config_text = _text(run_dir / "config.yaml")
    config = yaml.safe_load(config_text) if config_text else {}
    return RunData(
        root=run_dir,
        videos=pq.read_table(run.catalog("videos")),
        clips=pq.read_table(run.catalog("clips")),
        config_text=config_text,
        config=config if isinstance(config, dict) else {},
        metrics=_json(run_dir / "metrics.json"),
        plan=_json(run_dir / "plan.json"),
        manifest=_manifest(run.dataset),
    )


def score_fields(clips: pa.Table) -> list[pa.Field]:
    """The columns that stages added, in table order."""
    fixed = {*CLIP.names, *DECISION.names}
    return [field for field in clips.schema if field.name not in fixed]


def seconds(table: pa.Table) -> np.ndarray:
    """float64 length of each row's span in seconds, for display; nan where the span is unknown."""
    span, numerator, denominator = (
        pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False)
        for column in (
            pc.subtract(table["end_pts"], table["start_pts"]),
            table["time_base_num"],
            table["time_base_den"],
        )
    )
    return span * numerator / denominator


def texts(table: pa.Table, name: str) -> np.ndarray:
    """A string column as objects, "" for null or for a column that is not there."""
    if name not in table.column_names:
        return np.full(len(table), "", dtype=object)
    return np.array([value or "" for value in table[name].to_pylist()], dtype=object)


def kept_mask(clips: pa.Table) -> np.ndarray:
    """True for kept rows."""
    return texts(clips, "status") == STATUS_KEPT


def _manifest(dataset: Path) -> Manifest | None:
    store = open_store(dataset)
    return read_manifest(store) if dataset.is_dir() and versions(store) else None


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _json(path: Path) -> dict[str, Any]:
    value = json.loads(_text(path) or "{}")
    return value if isinstance(value, dict) else {}
