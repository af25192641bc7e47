"""Keep-rate curves as a small table, as plain values and as a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from curate.ask.finished import finished_run
from curate.ask.keep_rates import Curve, keep_rates
from curate.ask.what_if_view import rule_set
from curate.report.charts import LOG_SPREAD
from shards.errors import ConfigError

TABLE_ROWS = 9  # quantiles that the table shows, besides the rule's own number
_COLUMNS = 3  # of pictures side by side


def ask_keep_rates(directory: Path, overrides: Sequence[str], wanted: Sequence[str]) -> list[Curve]:
    """Curves of a finished run under its rules with overrides.

    Raises:
        ConfigError: as `finished_run`, `FinishedRun.with_rules` and `keep_rates`.
    """
    run = finished_run(directory)
    return keep_rates(run.clips, run.videos, rule_set(run.with_rules(overrides)), run.missing, wanted)


def describe(curve: Curve) -> str:
    """A few points of the curve, the rule's own number among them."""
    chosen = np.unique([*np.linspace(0, len(curve.value_P) - 1, TABLE_ROWS).round().astype(int), curve.at])
    item = curve.threshold
    lines = [
        f"keep.{item.rule}: kept if {item.quantity} {item.operator} …, other rules as they are",
        f"{'value':>12}{'clips':>9}{'hours':>10}{'share':>8}{'unknown':>9}",
    ]
    for point in chosen.tolist():
        mark = "  <- now" if point == curve.at else ""
        lines.append(
            f"{curve.value_P[point]:>12.5g}{curve.clips_P[point]:>9}{curve.hours_P[point]:>10.4f}"
            f"{100 * curve.share_P[point]:>7.1f}%{curve.open_clips_P[point]:>9}{mark}"
        )
    return "\n".join(lines)


def as_json(curve: Curve) -> dict[str, Any]:
    """The whole curve."""
    item = curve.threshold
    return {
        "rule": item.rule,
        "quantity": item.quantity,
        "operator": item.operator,
        "now": item.value,
        "hours": curve.hours,
        "clips": curve.num_clips,
        "points": [
            dict(zip(("value", "clips", "hours", "unknown_clips", "unknown_hours"), point, strict=True))
            for point in zip(
                *(values.tolist() for values in (curve.value_P, curve.clips_P, curve.hours_P)),
                *(values.tolist() for values in (curve.open_clips_P, curve.open_hours_P)),
                strict=True,
            )
        ],
    }


def write_png(curves: Sequence[Curve], path: Path) -> None:
    """All curves in one picture, the rules' own numbers as dashed lines, what is unknown as a band.

    Raises:
        ConfigError: there is no curve, or the file cannot be written.
    """
    if not curves:
        raise ConfigError("curves are 0: no rule compares a clip's score with a number; add such a rule with --set")
    from matplotlib.figure import Figure

    columns = min(_COLUMNS, len(curves))
    rows = -(-len(curves) // columns)
    figure = Figure(figsize=(4 * columns, 3 * rows), layout="constrained")
    plots = figure.subplots(rows, columns, squeeze=False).ravel()
    for plot, curve in zip(plots, curves, strict=False):
        _draw(plot, curve)
    for plot in plots[len(curves) :]:
        plot.axis("off")
    try:
        figure.savefig(path, format="png", dpi=120)
    except OSError as error:
        raise ConfigError(f"--png is {path}; {error.strerror}; name a file that can be written") from error


def _draw(plot: Any, curve: Curve) -> None:
    share_P, item = 100 * curve.share_P, curve.threshold
    most_P = share_P + (100 * curve.open_hours_P / curve.hours if curve.hours else 0)
    plot.fill_between(curve.value_P, share_P, most_P, color="#d08a2e", alpha=0.3, lw=0)
    plot.plot(curve.value_P, share_P, color="#2f7d5b", lw=1.6)
    plot.axvline(item.value, color="#444444", lw=0.9, ls="--")
    if curve.value_P[0] > 0 and curve.value_P[-1] > LOG_SPREAD * np.median(curve.value_P):
        plot.set_xscale("log")  # as the report's histograms: else one end of the axis shows everything
    plot.set_ylim(0, 102)
    plot.set_title(f"{item.rule}: {share_P[curve.at]:.0f} % at {item.value:g}", fontsize=9, parse_math=False)
    plot.set_xlabel(f"{item.quantity} {item.operator} …", fontsize=8, parse_math=False)
    plot.set_ylabel("kept hours, %", fontsize=8)
    plot.tick_params(labelsize=7)
