"""Other rules published at once: from the catalog and the shards there are, without opening a video."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from curate.ask.finished import FinishedRun, finished_run
from curate.ask.late import Late, decide_late
from curate.decision.ledger import balance
from curate.packing import plan_packing, publish_packed
from curate.report.write import write_report
from curate.run import plan_record
from curate.rundir import RunDir, write_json, write_table, write_text
from shards.errors import ConfigError, ContractError
from shards.versions.manifest import Manifest


def republish(directory: Path, overrides: Sequence[str], tell: Callable[[Late], object] | None = None) -> Manifest:
    """Decide again and publish; catalog, configuration and report follow. The same rules are the same version.

    Args:
        directory: of a finished run.
        overrides: of its rules.
        tell: called with the decision before anything is written.

    Raises:
        ConfigError: scores or cuts are missing, nothing would be kept, or a rule over key frames changed.
        ContractError: the books do not balance.
    """
    run_dir = RunDir(directory)
    run_dir.require_run()
    with run_dir.locked():
        late = decide_late(finished_run(directory), overrides)
        if tell:
            tell(late)
        return _publish(late)


def _publish(late: Late) -> Manifest:
    run, pipeline, run_dir = late.run, late.pipeline, late.run.run_dir
    if gaps := late.gaps:
        raise ConfigError(f"rules cannot be published yet; {'; '.join(gaps)}; run `reelmill curate run` with them")
    if not late.found.then.rows:
        raise ConfigError(f"rules keep 0 of {late.found.candidates.rows} clips; one or more is needed; loosen them")
    clips = _with_vectors(run, late.redecision.clips)
    balance(run.videos, clips).check()
    packing = plan_packing(pipeline, run_dir, clips, run.videos)
    plan = plan_record(pipeline, run_dir, run.videos)
    manifest = publish_packed(pipeline.config, run_dir, packing, clips) if not packing.tasks else None
    if manifest is None:
        raise ContractError("clips that shards hold are to be cut; what-if and run disagree; report this")
    write_json(run_dir.root / "plan.json", plan)
    write_text(run_dir.root / "config.yaml", pipeline.config.to_yaml())
    write_table(run_dir.catalog("clips"), clips)
    write_report(run_dir.root)
    return manifest


def _with_vectors(run: FinishedRun, clips: pa.Table) -> pa.Table:
    """All columns of the catalog as they stood: questions read none that hold vectors."""
    there = set(clips.column_names)
    vectors = pq.read_table(run.run_dir.catalog("clips"), columns=[name for name in run.columns if name not in there])
    for field in vectors.schema:
        clips = clips.append_column(field, vectors[field.name])
    return clips.select(run.columns)
