"""Other rules published at once: from the catalog and the shards there are, without opening a video."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq

from curate.ask.finished import finished_run
from curate.ask.what_if import WhatIf
from curate.ask.what_if_view import answer
from curate.decision.ledger import balance
from curate.decision.redecide import check_video_rules, decide_again
from curate.packing import plan_packing, publish_packed
from curate.report.write import write_report
from curate.run import plan_record
from curate.rundir import RunDir, write_json, write_table, write_text
from shards.errors import ConfigError, ContractError
from shards.versions.manifest import Manifest

_MAX_NAMED = 3


def gaps(found: WhatIf) -> list[str]:
    """What only a run can do before these rules can be published, as sentences; [] if nothing."""
    sentences = []
    if found.unknown.rows:
        names = ", ".join(found.missing)
        sentences.append(f"{found.unknown.rows} clips lack scores ({names}): {_named(found.unknown_ids)}")
    if found.to_cut.rows:
        sentences.append(f"{found.to_cut.rows} clips lie in no shard and are to be cut: {_named(found.to_cut_ids)}")
    if found.unscanned.rows:
        sentences.append(f"{found.unscanned.rows} videos that a rule stopped have no clips in the catalog")
    return sentences


def republish(directory: Path, overrides: Sequence[str]) -> Manifest:
    """Decide again and publish; catalog, configuration and report follow. The same rules are the same version.

    Raises:
        ConfigError: scores or cuts are missing, nothing would be kept, or a rule over key frames changed.
        ContractError: the books do not balance.
    """
    run_dir = RunDir(directory)
    run_dir.require_run()
    with run_dir.locked():
        run = finished_run(directory)
        pipeline = run.with_rules(overrides)
        check_video_rules(pipeline, run.pipeline)
        found = answer(run, pipeline)
        if missing := gaps(found):
            raise ConfigError(
                f"rules cannot be published yet; {'; '.join(missing)}; run `reelmill curate run` with them"
            )
        if not found.then.rows:
            raise ConfigError(f"rules keep 0 of {found.candidates.rows} clips; one or more is needed; loosen them")
        clips = decide_again(pq.read_table(run_dir.catalog("clips")), run.videos, pipeline.clip_rules)
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


def _named(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _MAX_NAMED} more" if len(ids) > _MAX_NAMED else ""
    return ", ".join(ids[:_MAX_NAMED]) + more
