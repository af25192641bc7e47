"""Keep-rate curves as the template draws them: in percent of the plot."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from curate.ask.answers import RuleSet
from curate.ask.keep_rates import Curve, keep_rates
from curate.decision.rules import Rule
from curate.decision.unscored import lacks
from curate.report.charts import LOG_SPREAD
from curate.report.data import RunData


@dataclass(frozen=True)
class RateChart:
    """One curve.

    Attributes:
        rule, comparison: what is compared with the number.
        points: of the kept share, x and y in percent of the plot, y downwards.
        x: where the rule's own number stands, percent.
        ticks: values at the left end, the middle and the right end.
        now, share_now: the rule's own number, and the kept share of hours there.
        num_open: clips that may be kept at it on top, by scores that were never computed.
    """

    rule: str
    comparison: str
    points: Sequence[tuple[float, float]]
    x: float
    ticks: tuple[float, float, float]
    is_log: bool
    now: float
    share_now: float
    num_open: int


def rate_charts(run: RunData, rules: Sequence[Rule]) -> list[RateChart]:
    """A chart for each comparison of a clip's score with a number."""
    # Rules over whole videos were decided before the scan: the clips there are have passed them.
    curves = keep_rates(run.clips, run.videos, RuleSet(rules), _missing(run.clips, rules))
    return [_chart(curve) for curve in curves]


def _missing(clips: pa.Table, rules: Sequence[Rule]) -> dict[str, np.ndarray]:
    names = {name for rule in rules for name in rule.columns}
    return {name: lacks(clips, [name]) for name in sorted(names)}


def _chart(curve: Curve) -> RateChart:
    value_P, item = curve.value_P, curve.threshold
    is_log = bool(value_P[0] > 0 and value_P[-1] > LOG_SPREAD * np.median(value_P))
    place_P = np.log(value_P) if is_log else value_P
    x_P = 100 * (place_P - place_P[0]) / max(float(np.ptp(place_P)), 1e-12)
    points = list(zip(x_P.tolist(), (100 - 100 * curve.share_P).tolist(), strict=True))
    middle = float(np.sqrt(value_P[0] * value_P[-1]) if is_log else (value_P[0] + value_P[-1]) / 2)
    return RateChart(
        rule=item.rule,
        comparison=f"{item.quantity} {item.operator} …",
        points=points,
        x=float(x_P[curve.at]),
        ticks=(float(value_P[0]), middle, float(value_P[-1])),
        is_log=is_log,
        now=item.value,
        share_now=float(curve.share_P[curve.at]),
        num_open=int(curve.open_clips_P[curve.at]),
    )
