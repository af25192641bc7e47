"""Rules decided late, from one reading of a finished run: what they would drop, and what only a run can add."""

from collections.abc import Sequence
from dataclasses import dataclass

from curate.ask.finished import FinishedRun
from curate.ask.what_if import WhatIf
from curate.ask.what_if_view import answer
from curate.decision.redecide import Redecision, check_video_rules, redecide
from curate.pipeline import Pipeline
from shards.errors import ConfigError

_MAX_NAMED = 3


@dataclass(frozen=True)
class Late:
    """A finished run under other rules.

    Attributes:
        run: as it is.
        pipeline: with the other rules.
        redecision: of its clips.
        found: the same as a question, with what lies in shards.
    """

    run: FinishedRun
    pipeline: Pipeline
    redecision: Redecision
    found: WhatIf

    @property
    def gaps(self) -> list[str]:
        """What only a run can do before these rules can be published, as sentences; [] if nothing."""
        found, sentences = self.found, []
        if found.unknown.rows:
            names = ", ".join(found.missing)
            sentences.append(f"{found.unknown.rows} clips lack scores ({names}): {_named(found.unknown_ids)}")
        if found.to_cut.rows:
            sentences.append(f"{found.to_cut.rows} clips lie in no shard and are to be cut: {_named(found.to_cut_ids)}")
        if found.unscanned.rows:
            sentences.append(f"{found.unscanned.rows} videos that a rule stopped have no clips in the catalog")
        return sentences

    def describe(self) -> str:
        """The funnel per rule, and what is missing, as text."""
        return "\n".join([self.redecision.describe(), *(f"missing: {gap}" for gap in self.gaps)])


def decide_late(run: FinishedRun, overrides: Sequence[str]) -> Late:
    """Decide a finished run's clips under its rules with overrides.

    Raises:
        ConfigError: a rule over key frames changed, or a rule reads a column that the catalog does not have.
    """
    pipeline = run.with_rules(overrides)
    check_video_rules(pipeline, run.pipeline)
    read = {column for rule in pipeline.clip_rules for column in rule.columns}
    if missing := sorted(read - set(run.columns)):
        raise ConfigError(
            f"rules read {missing}, which the catalog does not have; run `reelmill curate run` to score them"
        )
    return Late(run, pipeline, redecide(run.clips, run.videos, pipeline.clip_rules), answer(run, pipeline))


def _named(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _MAX_NAMED} more" if len(ids) > _MAX_NAMED else ""
    return ", ".join(ids[:_MAX_NAMED]) + more
