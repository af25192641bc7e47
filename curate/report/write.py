"""The run report: one HTML file a person wants to look at, made from the run directory alone."""

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from curate.decision.decide import rule_stats
from curate.decision.ledger import balance, problems
from curate.decision.rules import Rule, compile_rules
from curate.report.charts import charts
from curate.report.data import RunData, load_run, score_fields
from curate.report.examples import galleries
from curate.report.facts import (
    dataset_facts,
    decoded_per_source_frame,
    failures,
    flat,
    frame_costs,
    input_groups,
    model_order,
    saved_work,
    score_errors,
    step_costs,
)
from curate.report.funnel import funnel
from curate.report.keep_rates import rate_charts
from curate.report.page import render_page
from curate.rundir import write_text
from shards.errors import ConfigError

SCORES_PER_CLIP = 6


def write_report(run_dir: Path) -> Path:
    """Write `report.html` of a finished run; returns its path.

    Raises:
        ConfigError: the folder holds no catalog.
        ContractError: the dataset's manifest was changed.
    """
    run = load_run(run_dir)
    path = run_dir / "report.html"
    write_text(path, render_page("report.html.j2", report_facts(run)))
    return path


def report_facts(run: RunData) -> dict[str, Any]:
    """Everything that the template prints."""
    pictures = charts(run.candidates, run.rules)
    costs = step_costs(run)
    return {
        "run": run,
        "plan_id": str(run.plan.get("plan_id") or ""),
        "problems": run_problems(run),
        "funnel": funnel(run),
        "failures": failures(run),
        "score_errors": score_errors(run),
        "histograms": pictures.histograms,
        "categories": pictures.categories,
        "constants": pictures.constants,
        "rate_charts": rate_charts(run, _clip_rules(run)),
        "galleries": galleries(run),
        "shown_scores": _shown_scores(run),
        "input_groups": input_groups(run),
        "frame_costs": frame_costs(run),
        "decoded_per_source_frame": decoded_per_source_frame(run),
        "step_costs": costs,
        "saved_work": saved_work(run),
        "model_order": model_order(run),
        "longest_step_s": max((cost.cpu_s or 0 for cost in costs), default=0),
        "dataset_facts": dataset_facts(run),
        "machine": flat(run.metrics.get("machine") or {}),
        "versions": flat(run.metrics.get("versions") or {}),
        "steps": [step for step in run.plan.get("steps", []) if isinstance(step, Mapping)],
        "version": _own_version(),
    }


def run_problems(run: RunData) -> list[str]:
    """What is wrong with the run as a whole: the ledger, an empty result, a rule that rejects all it saw."""
    rules = _clip_rules(run)
    return list(problems(balance(run.videos, run.clips), rule_stats(run.clips, rules) if rules else []))


def _clip_rules(run: RunData) -> list[Rule]:
    """The rules over columns of clips; those over columns of whole videos were decided before."""
    rules = []
    for name, text in run.rules.items():
        try:
            rules += compile_rules({name: text}, run.clips.schema)
        except ConfigError:
            continue
    return rules


def _shown_scores(run: RunData) -> list[str]:
    """Number columns to print under a picture: those that rules read first."""
    names = [field.name for field in score_fields(run.clips) if str(field.type) in {"float", "double"}]
    read = [name for rule in _clip_rules(run) for name in rule.columns if name in names]
    return list(dict.fromkeys([*read, *names]))[:SCORES_PER_CLIP]


def _own_version() -> str:
    try:
        return version("reelmill")
    except PackageNotFoundError:
        return "(not installed)"
