"""The one place that drops: rules over all columns to a decision for each segment. Pure, in seconds, repeatable."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from curate.decision.ledger import seconds
from curate.decision.rules import Rule
from curate.decision.unscored import lacks
from curate.scenes.segments import SEGMENT_UNDECODED
from shards.errors import ContractError
from shards.schema import (
    DECISION,
    SEGMENT_CLIP,
    STATUS_FAILED,
    STATUS_KEPT,
    STATUS_OK,
    STATUS_REJECTED,
    STATUS_UNSCORED,
)

pc: Any = pyarrow.compute  # its stubs refuse the plain values that the functions take


@dataclass(frozen=True)
class RuleStats:
    """What one rule did.

    Attributes:
        name, expression: of the rule.
        seen: clips for which the rule has an answer.
        rejects: clips that it answers with false, whatever other rules say.
        unknown: clips for which it has none, because a score is null.
        removed: clips whose drop_rule it is.
        removed_s: their seconds.
        removed_alone: clips that no other rule is known to reject: without this rule they would stay, as far as scored.
        unscored: clips for which it was not asked, because a rule of an earlier step drops them.
    """

    name: str
    expression: str
    seen: int
    rejects: int
    unknown: int
    removed: int
    removed_s: Fraction
    removed_alone: int
    unscored: int = 0

    @property
    def rejects_all(self) -> bool:
        """The rule rejects every clip it has an answer for: rather a mistake than a threshold."""
        return 0 < self.seen == self.rejects


def decide(clips: pa.Table, videos: pa.Table, rules: Sequence[Rule]) -> pa.Table:
    """All rows with the columns of DECISION, which are replaced if present.

    A clip is rejected by the first rule, in order, that is false; else failed by the first that is unknown; else kept.
    A rule over a column in `not_scored` says neither: it was not asked, because a rule of an earlier step drops the
    clip. If no rule drops it any more, its status is `unscored`: those scores must be computed first. A segment that is
    no clip is rejected as `segment_<reason>`; an undecoded one has failed.

    Args:
        clips: rows of CLIP and scores.
        videos: rows of VIDEO.
        rules: in the order in which they fire (`Pipeline.clip_rules`).

    Raises:
        ContractError: a segment of a video that was not scanned.
    """
    _check_videos(clips, videos)
    clips = clips.drop_columns([name for name in DECISION.names if name in clips.column_names])
    is_clip = _is_clip(clips)
    answers = _answers(clips, rules)
    ways = [is_clip & answer_RN.any(axis=0) for answer_RN in answers]
    rule_N = np.select(ways, [answer_RN.argmax(axis=0) for answer_RN in answers], 0)
    dropped_N = np.logical_or.reduce(ways)
    statuses = [STATUS_REJECTED, STATUS_FAILED, STATUS_UNSCORED, STATUS_KEPT]
    status = np.select([*ways, is_clip], statuses, STATUS_REJECTED)
    status[pc.equal(clips["segment"], SEGMENT_UNDECODED).to_numpy()] = STATUS_FAILED
    names = pa.array([rule.name for rule in rules], pa.string())
    reasons = pc.binary_join_element_wise("segment", clips["segment"], "_")
    columns = [
        pa.array(status),
        pc.if_else(is_clip, names.take(pa.array(rule_N, mask=~dropped_N)), reasons),
        _drop_values(clips, rules, rule_N, dropped_N),
    ]
    for field, values in zip(DECISION, columns, strict=True):
        clips = clips.append_column(field, values.cast(field.type))
    return clips


def rule_stats(clips: pa.Table, rules: Sequence[Rule]) -> list[RuleStats]:
    """What each rule did to decided clips, in the order of the rules."""
    is_clip = _is_clip(clips)
    false_RN, unknown_RN, unscored_RN = _answers(clips, rules)
    num_false_N = false_RN.sum(axis=0)
    stats = []
    each = (answer_RN[: len(rules)] & is_clip for answer_RN in (false_RN, unknown_RN, unscored_RN))
    for rule, false_N, unknown_N, unscored_N in zip(rules, *each, strict=True):
        removed = clips.filter(pc.and_(is_clip, pc.equal(clips["drop_rule"], rule.name).fill_null(False)))
        stats.append(
            RuleStats(
                name=rule.name,
                expression=rule.expression,
                seen=int((is_clip & ~unknown_N & ~unscored_N).sum()),
                rejects=int(false_N.sum()),
                unknown=int(unknown_N.sum()),
                removed=len(removed),
                removed_s=seconds(removed),
                removed_alone=int((false_N & (num_false_N == 1)).sum()),
                unscored=int(unscored_N.sum()),
            )
        )
    return stats


def _check_videos(clips: pa.Table, videos: pa.Table) -> None:
    scanned = videos.filter(pc.equal(videos["status"], STATUS_OK))["video_id"].combine_chunks()
    orphans = clips.filter(pc.invert(pc.is_in(clips["video_id"], scanned)))
    if len(orphans):
        raise ContractError(
            f"segments of videos that were not scanned are {len(orphans)}, first of {orphans['video_id'][0]}; "
            "only a video with status ok has segments; drop those rows"
        )


def _is_clip(clips: pa.Table) -> np.ndarray:
    return pc.equal(clips["segment"], SEGMENT_CLIP).to_numpy()


def _answers(clips: pa.Table, rules: Sequence[Rule]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where each rule is false, where it is unknown, and where it was not asked: bool, shape (rules, rows)."""
    # Without rules there is one that everything passes, so that callers need no special case.
    answers = [rule.evaluate(clips) for rule in rules] or [pa.array(np.ones(len(clips), bool))]
    unscored_RN = np.stack([lacks(clips, rule.columns) for rule in rules] or [np.zeros(len(clips), bool)])
    false_RN = np.stack([pc.invert(answer).fill_null(False).to_numpy(zero_copy_only=False) for answer in answers])
    unknown_RN = np.stack([answer.is_null().to_numpy(zero_copy_only=False) for answer in answers])
    return false_RN & ~unscored_RN, unknown_RN & ~unscored_RN, unscored_RN


def _drop_values(clips: pa.Table, rules: Sequence[Rule], rule_N: np.ndarray, dropped_N: np.ndarray) -> pa.Array:
    values_N, known_N = np.zeros(len(clips)), np.zeros(len(clips), bool)
    for index, rule in enumerate(rules):
        column = clips[rule.columns[0]]
        if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
            rows_N = dropped_N & (rule_N == index) & column.is_valid().to_numpy()
            values_N[rows_N] = pc.fill_null(column.cast(pa.float64()), 0.0).to_numpy()[rows_N]
            known_N |= rows_N
    return pa.array(values_N, mask=~known_N)
