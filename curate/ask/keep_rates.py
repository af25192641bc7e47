"""Keep-rate curves: what share is kept as one number in one rule moves, all other rules as they are. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from curate.ask.answers import Answers, RuleSet
from curate.decision.rules import Rule
from curate.decision.thresholds import Threshold, thresholds, with_value
from shards.errors import ConfigError
from shards.schema import SEGMENT_CLIP

pc: Any = pyarrow.compute  # its stubs refuse the plain values that the functions take

NUM_POINTS = 65  # quantiles of the quantity, both ends included: 64 equal shares of the clips between them


@dataclass(frozen=True)
class Curve:
    """Kept clips over one threshold (P = values, increasing).

    Attributes:
        threshold: the comparison; its own value is among `value_P`.
        value_P: numbers tried, quantiles of the quantity over all clips.
        clips_P, hours_P: kept for certain.
        open_clips_P, open_hours_P: on top, kept or not by scores that were never computed.
        num_clips, hours: all clips.
    """

    threshold: Threshold
    value_P: np.ndarray
    clips_P: np.ndarray
    hours_P: np.ndarray
    open_clips_P: np.ndarray
    open_hours_P: np.ndarray
    num_clips: int
    hours: float

    @property
    def at(self) -> int:
        """Where the rule's own number stands in `value_P`."""
        return int(np.searchsorted(self.value_P, self.threshold.value))

    @property
    def share_P(self) -> np.ndarray:  # noqa: N802
        """Kept part of all hours."""
        return self.hours_P / self.hours if self.hours else np.zeros(len(self.hours_P))


def keep_rates(
    clips: pa.Table, videos: pa.Table, rules: RuleSet, missing: Mapping[str, np.ndarray], wanted: Sequence[str] = ()
) -> list[Curve]:
    """A curve for each wanted comparison of a clip's score with a number.

    Args:
        clips: rows of the catalog.
        videos: rows of VIDEO.
        rules: all rules.
        missing: column -> bool per row of `clips`, true where it was never computed.
        wanted: `keep.RULE`, `keep.RULE:COLUMN` or `all`; () is all.

    Raises:
        ConfigError: a rule or column that has no comparison with a number.
    """
    is_clip_N = pc.equal(clips["segment"], SEGMENT_CLIP).to_numpy(zero_copy_only=False)
    rows = clips.filter(pa.array(is_clip_N))
    missing = {name: mask_N[is_clip_N] for name, mask_N in missing.items()}
    answers = Answers.of(rows, videos, rules, missing)
    hours_N = _hours(rows)
    found = []
    for rule, threshold in _chosen(rules.clips, wanted):
        index = answers.rules.index(rule)
        curve = _curve(rows, rule, threshold, answers, index, missing, hours_N)
        if curve is not None:
            found.append(curve)
    return found


def _curve(
    rows: pa.Table,
    rule: Rule,
    threshold: Threshold,
    answers: Answers,
    index: int,
    missing: Mapping[str, np.ndarray],
    hours_N: np.ndarray,
) -> Curve | None:
    """None if no clip has the quantity."""
    value_P = _values(threshold.values(rows), threshold.value)
    if value_P is None:
        return None
    others_true_N, others_open_N = _others(answers, index)
    unseen_N = np.zeros(len(rows), bool)
    for name in rule.columns:
        unseen_N |= missing.get(name, False)
    sums = []
    for value in value_P.tolist():
        answer = with_value(rule, threshold, value).evaluate_scored(rows, missing)
        true_N = pc.fill_null(answer, False).to_numpy(zero_copy_only=False)
        open_N = answer.is_null().to_numpy(zero_copy_only=False) & unseen_N
        kept_N = others_true_N & true_N
        maybe_N = (others_true_N | others_open_N) & (true_N | open_N) & ~kept_N
        sums.append((kept_N.sum(), hours_N[kept_N].sum(), maybe_N.sum(), hours_N[maybe_N].sum()))
    clips_P, hours_P, open_clips_P, open_hours_P = map(np.array, zip(*sums, strict=True))
    amounts = clips_P, hours_P, open_clips_P, open_hours_P
    return Curve(threshold, value_P, *amounts, num_clips=len(rows), hours=float(hours_N.sum()))


def _chosen(rules: Sequence[Rule], wanted: Sequence[str]) -> list[tuple[Rule, Threshold]]:
    pairs = [(rule, threshold) for rule in rules for threshold in thresholds(rule)]
    if not wanted or "all" in wanted:
        return pairs
    chosen = []
    for name in wanted:
        rule_name, _, column = name.removeprefix("keep.").partition(":")
        found = [
            pair
            for pair in pairs
            if pair[0].name == rule_name and (not column or column in (*pair[1].columns, pair[1].quantity))
        ]
        if not found:
            known = ", ".join(dict.fromkeys(f"keep.{rule.name}:{item.quantity}" for rule, item in pairs)) or "none"
            raise ConfigError(f"curve is {name!r}; comparisons of a clip's score with a number are: {known}; name one")
        chosen += found
    return chosen


def _others(answers: Answers, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Clips that all other rules pass, and those that none rejects or fails but one leaves open."""
    true_N, not_rejected_N = answers.no_other_rejects(index)
    fails_N = np.any(np.delete(answers.null_RN, index, axis=0), axis=0)
    return true_N, not_rejected_N & ~fails_N


def _values(values: pa.Array, own: float) -> np.ndarray | None:
    known_N = pc.drop_null(values).to_numpy(zero_copy_only=False)
    known_N = known_N[np.isfinite(known_N)]
    if not len(known_N):
        return None
    return np.unique([*np.quantile(known_N, np.linspace(0, 1, NUM_POINTS)), own])


def _hours(rows: pa.Table) -> np.ndarray:
    span, num, den = (rows[name].to_numpy() for name in ("end_pts", "time_base_num", "time_base_den"))
    return (span - rows["start_pts"].to_numpy()) * num / den / 3600
