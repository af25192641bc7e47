"""Other rules on a finished run's rows: what would be kept, what nobody can know, what would have to be cut. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from curate.ask.answers import Answers, RuleSet
from curate.ask.stale import Stale
from curate.decision.ledger import seconds
from curate.decision.redecide import cut_failed
from curate.decision.rules import Rule
from shards.schema import SEGMENT_CLIP, STATUS_KEPT, STATUS_OK, strings

pc: Any = pyarrow.compute  # its stubs refuse the plain values that the functions take


@dataclass(frozen=True)
class Amount:
    """Rows and their exact length."""

    rows: int
    seconds: Fraction

    @property
    def hours(self) -> float:
        """For display."""
        return float(self.seconds / 3600)

    def as_json(self) -> dict[str, float]:
        """Plain numbers."""
        return {"clips": self.rows, "seconds": float(self.seconds), "hours": self.hours}


@dataclass(frozen=True)
class RuleEffect:
    """What one rule would do.

    Attributes:
        name, expression: of the rule.
        before: its expression in the run; None if it is new.
        removes: clips that it answers with false, whatever other rules say.
        alone: clips that would be kept without it: every other rule is true of them.
        maybe_alone: clips that no other rule rejects, but of which one is unknown.
        unknown: clips that it has no answer for since a score was never computed.
    """

    name: str
    expression: str
    before: str | None
    removes: Amount
    alone: Amount
    maybe_alone: Amount
    unknown: Amount


@dataclass(frozen=True)
class WhatIf:
    """A finished run under other rules.

    Attributes:
        candidates: clips that rules speak about.
        now: kept in the catalog.
        then: kept for certain.
        unknown: clips whose fate hangs on scores that were never computed.
        failed: clips that cannot be judged, or could not be cut.
        unscanned: videos that a rule over key frames stopped and that may pass now; the catalog has no clips of them.
        gained, lost: kept only then, kept only now; what is unknown then is in neither.
        to_cut: kept then, with no clip in a published shard.
        missing: column -> clips whose fate hangs on it.
        rules: in order; those over whole videos first.
        dropped: name -> expression of the run's rules that are none any more.
        kept_ids: clip_id of what is kept then, in the order of the catalog.
        unknown_ids, to_cut_ids: likewise.
        stale: stages whose values would be computed first, if not only rules are tried.
        num_sources: videos that a scan would open.
    """

    candidates: Amount
    now: Amount
    then: Amount
    unknown: Amount
    failed: Amount
    unscanned: Amount
    gained: Amount
    lost: Amount
    to_cut: Amount
    missing: Mapping[str, int]
    rules: Sequence[RuleEffect]
    dropped: Mapping[str, str]
    kept_ids: Sequence[str]
    unknown_ids: Sequence[str]
    to_cut_ids: Sequence[str]
    stale: Sequence[Stale] = ()
    num_sources: int = 0


def what_if(
    clips: pa.Table,
    videos: pa.Table,
    before: RuleSet,
    then: RuleSet,
    missing: Mapping[str, np.ndarray],
    in_shards: Collection[str],
) -> WhatIf:
    """Judge every clip again.

    A clip is rejected if any rule is false; else unknown if any hangs on a score that was never computed; else failed
    if any hangs on one that cannot be computed; else kept.

    Args:
        clips: rows of the catalog, with its decisions.
        videos: rows of VIDEO.
        before, then: the run's rules, and those to try.
        missing: column -> bool per row of `clips`, true where it was never computed.
        in_shards: clip_id of the clips that lie in published shards as they are in the catalog.
    """
    is_clip_N = pc.equal(clips["segment"], SEGMENT_CLIP).to_numpy(zero_copy_only=False)
    rows = clips.filter(pa.array(is_clip_N))
    missing = {name: mask_N[is_clip_N] for name, mask_N in missing.items()}
    answers = Answers.of(rows, videos, then, missing)
    status = rows["status"].to_numpy(zero_copy_only=False)
    cut_failed_N = cut_failed(rows).to_numpy()
    now_N = status == STATUS_KEPT
    unknown_N = answers.unknown_N & ~cut_failed_N
    then_N = answers.passed_N & ~cut_failed_N
    on_shelf_N = pc.is_in(rows["clip_id"], pa.array(sorted(in_shards), pa.string())).to_numpy(zero_copy_only=False)
    amount = _Amounts(rows)
    return WhatIf(
        candidates=amount(np.ones(len(rows), bool)),
        now=amount(now_N),
        then=amount(then_N),
        unknown=amount(unknown_N),
        failed=amount(answers.failed_N | (cut_failed_N & ~answers.rejected_N)),
        unscanned=_unscanned(videos, before, then),
        gained=amount(then_N & ~now_N),
        lost=amount(now_N & ~then_N & ~unknown_N),
        to_cut=amount(then_N & ~on_shelf_N),
        missing=_hangs_on(then.clips, answers, missing, unknown_N),
        rules=[_effect(answers, index, before.texts, amount) for index in range(len(answers.rules))],
        dropped={name: text for name, text in before.texts.items() if name not in then.texts},
        kept_ids=_ids(rows, then_N),
        unknown_ids=_ids(rows, unknown_N),
        to_cut_ids=_ids(rows, then_N & ~on_shelf_N),
    )


def _effect(answers: Answers, index: int, before: Mapping[str, str], amount: "_Amounts") -> RuleEffect:
    rule, false_N = answers.rules[index], answers.false_RN[index]
    all_pass_N, none_rejects_N = answers.no_other_rejects(index)
    return RuleEffect(
        rule.name,
        rule.expression,
        before.get(rule.name),
        removes=amount(false_N),
        alone=amount(false_N & all_pass_N),
        maybe_alone=amount(false_N & none_rejects_N),
        unknown=amount(answers.open_RN[index]),
    )


@dataclass(frozen=True)
class _Amounts:
    """Lengths of any selection of rows."""

    rows: pa.Table

    def __call__(self, chosen_N: np.ndarray) -> Amount:
        return Amount(int(chosen_N.sum()), seconds(self.rows.filter(pa.array(chosen_N))))


def _hangs_on(
    rules: Sequence[Rule], answers: Answers, missing: Mapping[str, np.ndarray], unknown_N: np.ndarray
) -> dict[str, int]:
    """Clips that each missing column leaves open."""
    counts: dict[str, int] = {}
    first = len(answers.rules) - len(rules)
    for name, missing_N in missing.items():
        reading = [first + index for index, rule in enumerate(rules) if name in rule.columns]
        number = int((answers.open_RN[reading].any(axis=0) & missing_N & unknown_N).sum())
        if number:
            counts[name] = number
    return counts


def _unscanned(videos: pa.Table, before: RuleSet, then: RuleSet) -> Amount:
    """Videos that one of the run's rules stopped and that no rule stops any more; each content once."""
    passes = np.array(pc.is_in(videos["drop_rule"], pa.array(sorted(before.texts), pa.string())))
    for rule in then.videos:
        passes &= pc.fill_null(rule.evaluate(videos), False).to_numpy(zero_copy_only=False)
    seen = set(videos.filter(pc.equal(videos["status"], STATUS_OK))["video_id"].to_pylist())
    for row in np.flatnonzero(passes).tolist():
        video_id = videos["video_id"][row].as_py()
        passes[row] = video_id not in seen
        seen.add(video_id)
    return Amount(int(passes.sum()), seconds(videos.filter(pa.array(passes))))


def _ids(rows: pa.Table, chosen_N: np.ndarray) -> list[str]:
    return strings(rows.filter(pa.array(chosen_N)), "clip_id")
