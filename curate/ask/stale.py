"""Stages that another configuration, or newer code, would compute anew, and from what. Nothing is computed here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from curate.backfill import model_keys
from curate.pipeline import Pipeline
from curate.stage import SpanStage, Stage

SPOOL, SCAN = "spooled frames", "one scan"


@dataclass(frozen=True)
class Stale:
    """A stage whose values a run would compute again, or for the first time.

    Attributes:
        stage: of the new pipeline.
        why: new, changed, or reads what is stale.
        source: SPOOL or SCAN.
    """

    stage: Stage
    why: str
    source: str

    @property
    def columns(self) -> list[str]:
        """What it adds."""
        return list(self.stage.adds.names)


def stale_stages(before: Pipeline, then: Pipeline, steps: Sequence[Mapping[str, Any]]) -> list[Stale]:
    """Stages of `then` whose values a finished run does not have, in order.

    Args:
        before: of the run.
        then: to be tried.
        steps: of the run's plan.json, with the versions that it ran.
    """
    versions = {step.get("name"): step.get("version") for step in steps}
    keys = model_keys(before), model_keys(then)
    known = {stage.name: stage for stage in before.stages}
    found: list[Stale] = []
    for stage in (*then.span_stages, *then.configured_models):
        old = known.get(stage.name)
        source = SCAN if isinstance(stage, SpanStage) else SPOOL
        if old is None:
            found.append(Stale(stage, "new", source))
        elif old.identity() != stage.identity() or versions.get(stage.name, stage.version) != stage.version:
            found.append(Stale(stage, "changed", source))
        elif source == SPOOL and (keys[0].get(stage.name) != keys[1][stage.name] or _reads(stage, found)):
            found.append(Stale(stage, "reads what is computed anew", source))
    return found


def _reads(stage: Stage, stale: Sequence[Stale]) -> bool:
    return any(not set(stage.reads).isdisjoint(item.columns) for item in stale)
