"""`reelmill curate what-if`: the question asked of a run directory, and its answer as text and as plain values."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.compute

from curate.ask.answers import RuleSet
from curate.ask.finished import FinishedRun, finished_run, missing_scores
from curate.ask.shelf import shelf_of
from curate.ask.stale import SCAN, SPOOL, Stale, stale_stages
from curate.ask.what_if import Amount, WhatIf, what_if
from curate.pipeline import Pipeline
from curate.rundir import read_json
from shards.schema import SEGMENT_CLIP

pc: Any = pyarrow.compute  # its stubs refuse the plain values that the functions take


def ask_what_if(directory: Path, overrides: Sequence[str]) -> WhatIf:
    """A finished run under other rules; reads its catalog and the indexes of its shards, and writes nothing.

    Raises:
        ConfigError: no finished run, an override that is no rule's, a rule that does not compile.
    """
    run = finished_run(directory)
    return answer(run, run.with_stages(overrides))


def answer(run: FinishedRun, pipeline: Pipeline) -> WhatIf:
    """A finished run under the rules of another pipeline."""
    before, then = rule_set(run.pipeline), rule_set(pipeline)
    plan = run.run_dir.root / "plan.json"
    stale = stale_stages(run.pipeline, pipeline, read_json(plan)["steps"] if plan.is_file() else ())
    clips, missing = missing_scores(run.clips, pipeline.stages)
    is_clip_N = pc.equal(clips["segment"], SEGMENT_CLIP).to_numpy(zero_copy_only=False)
    missing |= {name: is_clip_N for item in stale for name in item.columns if name in clips.column_names}
    # Which shards stand depends on what is kept, so the rules are asked first, and then with the shelf.
    kept = what_if(clips, run.videos, before, then, missing, ()).kept_ids
    found = what_if(clips, run.videos, before, then, missing, shelf_of(run, kept).clip_ids)
    return replace(found, stale=stale, num_sources=_num_scanned(run))


def _num_scanned(run: FinishedRun) -> int:
    return pc.sum(run.videos["num_frames"].is_valid()).as_py() or 0


def rule_set(pipeline: Pipeline) -> RuleSet:
    """The rules of a pipeline."""
    return RuleSet(pipeline.clip_rules, pipeline.video_rules)


def describe(found: WhatIf) -> str:
    """The answer for people."""
    lines = [
        _line("", "clips", "hours", ""),
        _amount("candidates", found.candidates),
        _amount("kept now", found.now),
        _amount("kept then", found.then, _gained(found)),
        _amount("unknown", found.unknown, _missing(found)),
        _amount("failed", found.failed, "a score that cannot be computed, or a cut" if found.failed.rows else ""),
        _amount("would have to be cut", found.to_cut, "kept then, in no shard" if found.to_cut.rows else ""),
    ]
    if found.unscanned.rows:
        note = "by a rule over key frames; may pass now, but their clips are not in the catalog"
        lines.append(_line("stopped", f"{found.unscanned.rows} videos", f"{found.unscanned.hours:.4f}", note))
    lines += [_backfill(found, item) for item in found.stale]
    lines += ["", f"{'rule':<20}{'removes':>9}{'hours':>10}{'alone':>9}{'hours':>10}{'maybe':>8}{'unknown':>9}"]
    for rule in found.rules:
        numbers = (
            f"{rule.removes.rows:>9}{rule.removes.hours:>10.4f}{rule.alone.rows:>9}{rule.alone.hours:>10.4f}"
            f"{rule.maybe_alone.rows:>8}{rule.unknown.rows:>9}"
        )
        was = "" if rule.before == rule.expression else f"  (was: {rule.before or 'no rule'})"
        lines.append(f"{rule.name:<20}{numbers}  {rule.expression}{was}")
    lines += [f"{name:<20}{'':>55}  (no rule any more; was: {text})" for name, text in found.dropped.items()]
    return "\n".join(line.rstrip() for line in lines)


def as_json(found: WhatIf) -> dict[str, Any]:
    """The answer for programs; ids included."""
    names = ("candidates", "now", "then", "unknown", "failed", "unscanned", "gained", "lost", "to_cut")
    amounts: dict[str, Any] = {name: getattr(found, name).as_json() for name in names}
    amounts["unscanned"]["videos"] = amounts["unscanned"].pop("clips")
    rules = [
        {
            "name": rule.name,
            "expression": rule.expression,
            "before": rule.before,
            **{part: getattr(rule, part).as_json() for part in ("removes", "alone", "maybe_alone", "unknown")},
        }
        for rule in found.rules
    ]
    ids = {"unknown_ids": list(found.unknown_ids), "to_cut_ids": list(found.to_cut_ids)}
    stale = [{"stage": item.stage.name, "why": item.why, "source": item.source} for item in found.stale]
    return (
        amounts | {"stale": stale, "missing": dict(found.missing), "rules": rules, "dropped": dict(found.dropped)} | ids
    )


def _backfill(found: WhatIf, item: Stale) -> str:
    if item.source == SCAN:
        source = f"{SCAN} of {found.num_sources} videos; models of the same clips are not asked again"
    else:
        source = f"{SPOOL}, for {found.then.rows + found.unknown.rows} clips at most that no known rule drops"
    return f"to be computed         {item.stage.name} ({item.why}), from {source}"


def _amount(title: str, amount: Amount, note: str = "") -> str:
    return _line(title, str(amount.rows), f"{amount.hours:.4f}", note)


def _line(title: str, rows: str, hours: str, note: str) -> str:
    return f"{title:<22}{rows:>10}{hours:>12}  {note}"


def _gained(found: WhatIf) -> str:
    return f"known; gained {found.gained.rows}, lost {found.lost.rows}"


def _missing(found: WhatIf) -> str:
    columns = ", ".join(f"{name} of {number}" for name, number in found.missing.items())
    return f"hangs on scores that were never computed: {columns}" if columns else ""
