"""The plan for people and for plan.json: what each step reads, adds and sees, which rules fire there, what it takes."""

from collections.abc import Sequence
from typing import Any

from curate.decision.rules import Rule
from curate.model_order import TRIAL_VIDEOS, has_choice
from curate.pipeline import SCENES, Pipeline
from curate.stage import FrameStage, SpanStage, Stage
from shards.schema import CLIP, DECISION, VIDEO

DRIVER = "driver"


def steps(pipeline: Pipeline) -> list[dict[str, Any]]:
    """One mapping per step, in order.

    Each has name, kind, version, reads, adds, rules (name -> text) that fire at its end, after (names of the rules that
    a row must have passed to get here; empty: every row) and resources.
    """
    run = pipeline.config.run
    media = f"one media child per worker; in Ray {run.scan_cpus:g} CPU"
    keys = [name for name in VIDEO.names if name.startswith("key_")]
    rows = [
        _step("ingest", "explode", DRIVER, adds=VIDEO.names[:4]),
        _step("keyframes", "map", media, reads=["uri"], adds=keys, rules=pipeline.video_rules),
        _step("scan", "map", media, reads=["uri"], adds=["num_frames"], after=pipeline.video_rules),
        _step(SCENES, "explode", media, adds=CLIP.names, rules=pipeline.fires[SCENES]),
    ]
    for stage in pipeline.stages:
        gate = pipeline.gate(stage) if isinstance(stage, FrameStage) else []
        rows.append(
            _step(
                stage.name,
                _kind(stage),
                _resources(stage, pipeline),
                stage.version,
                stage.reads,
                stage.adds.names,
                pipeline.fires[stage.name],
                gate,
            )
        )
    decide = _step("decide", "map", DRIVER, adds=DECISION.names)
    pack = _step("pack", "write", media, reads=["uri"], after=pipeline.clip_rules)
    return [*rows, decide, pack | {"clips": pipeline.config.cut.describe()}]


def describe(pipeline: Pipeline) -> str:
    """The steps as text."""
    lines = []
    for step in steps(pipeline):
        lines.append(f"{step['name']:<20} {step['kind']:<8} v{step['version']:<3} {step['resources']}")
        if step["after"]:
            lines.append(f"    sees  only rows that pass {', '.join(step['after'])}")
        if step["reads"]:
            lines.append(f"    reads {', '.join(step['reads'])}")
        if step["adds"]:
            lines.append(f"    adds  {', '.join(step['adds'])}")
        if "clips" in step:
            lines.append(f"    clips {step['clips']}")
        lines += [f"    rule  {name}: {text}" for name, text in step["rules"].items()]
    if has_choice(pipeline):
        names = ", ".join(stage.name for stage in pipeline.frame_stages)
        lines.append(
            f"models run in this order ({names}) over the first {TRIAL_VIDEOS} videos; what they cost and drop"
        )
        lines.append("there decides the order for the others, once per run; what is kept does not depend on it")
    return "\n".join(lines)


def _resources(stage: Stage, pipeline: Pipeline) -> str:
    run = pipeline.config.run
    if isinstance(stage, SpanStage):
        return f"each worker; in Ray {run.scan_cpus:g} CPU"
    if isinstance(stage, FrameStage):
        gpus = f" and {run.model_gpus:g} GPU" if run.model_gpus else ""
        actors = f"up to {run.model_actors} processes with" if run.model_actors > 1 else "1 process with"
        return f"batches of {stage.batch_size}; in Ray {actors} {run.model_cpus:g} CPU{gpus}"
    return DRIVER


def _kind(stage: Stage) -> str:
    if isinstance(stage, SpanStage):
        return "map"
    return "model" if isinstance(stage, FrameStage) else "gather"


def _step(
    name: str,
    kind: str,
    resources: str,
    version: int = 1,
    reads: Sequence[str] = (),
    adds: Sequence[str] = (),
    rules: Sequence[Rule] = (),
    after: Sequence[Rule] = (),
) -> dict[str, Any]:
    return {
        "name": name,
        "kind": kind,
        "version": version,
        "resources": resources,
        "reads": list(reads),
        "adds": list(adds),
        "rules": {rule.name: rule.expression for rule in rules},
        "after": [rule.name for rule in after],
    }
