"""Curves over hand-made clips of one hour each, so hours count clips."""

from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest

from curate.ask.answers import RuleSet
from curate.ask.keep_rates import Curve, keep_rates
from curate.ask.keep_rates_view import as_json, describe, write_png
from curate.decision.rules import compile_rules
from shards.errors import ConfigError
from shards.schema import CLIP, column
from tests.curate.tables import clip, clips_of, video, videos_of

HOUR = 3600 * 25
COLUMNS = [column("motion", pa.float32(), "", ""), column("pretty", pa.float32(), "", "")]
SCHEMA = pa.schema([*CLIP, *COLUMNS])
MOTION = [1.0, 2.0, 3.0, 4.0, None]
PRETTY = [9.0, 9.0, 1.0, None, 9.0]


def curves(keep: dict[str, str], wanted: list[str] | None = None, unseen: dict[str, list[int]] | None = None):
    rows = [
        clip("a", HOUR * at, HOUR * at + HOUR, motion=motion, pretty=pretty)
        for at, (motion, pretty) in enumerate(zip(MOTION, PRETTY, strict=True))
    ]
    fade = clip("a", HOUR * 5, HOUR * 5 + 10, segment="fade")
    clips = clips_of(*rows, fade, extra=COLUMNS)
    missing = {name: np.isin(np.arange(6), numbers) for name, numbers in (unseen or {}).items()}
    rules = RuleSet(compile_rules(keep, SCHEMA))
    return keep_rates(clips, videos_of(video("a", HOUR * 5 + 10)), rules, missing, wanted or [])


def at(curve: Curve, value: float) -> tuple[int, float, int]:
    """Kept clips, hours, and clips that are unknown, at the largest value tried that is not above."""
    point = int(np.searchsorted(curve.value_P, value, side="right")) - 1
    return int(curve.clips_P[point]), float(curve.hours_P[point]), int(curve.open_clips_P[point])


def test_a_curve_counts_what_is_kept_at_each_value():
    (curve,) = curves({"moves": "motion >= 2.5"})
    assert [at(curve, value) for value in (1, 2, 2.5, 3, 4)] == [(4, 4, 0), (3, 3, 0), (2, 2, 0), (2, 2, 0), (1, 1, 0)]
    assert (curve.value_P[0], curve.value_P[-1], curve.num_clips, curve.hours) == (1, 4, 5, 5)
    assert curve.share_P[curve.at] == pytest.approx(2 / 5)


def test_the_other_rules_stay_as_they_are():
    """`pretty` keeps the first two, cannot judge the fourth, and rejects the third."""
    moves, pretty = curves({"moves": "motion >= 2", "pretty": "pretty > 5"})
    assert [at(moves, value)[0] for value in (1, 2, 4)] == [2, 1, 0]
    assert at(pretty, 1) == (1, 1, 0)
    assert pretty.threshold.describe() == "pretty > 5"


def test_what_was_never_scored_is_a_band_on_top():
    moves, pretty = curves({"moves": "motion >= 2", "pretty": "pretty > 5"}, unseen={"pretty": [3]})
    assert [at(moves, value) for value in (1, 4)] == [(2, 2, 1), (0, 0, 1)]
    assert at(pretty, 9) == (0, 0, 1)


def test_curves_are_chosen_by_rule_and_column():
    keep = {"both": "motion >= 2 AND pretty > 5", "light": "motion BETWEEN 0 AND 9"}
    assert [one.threshold.quantity for one in curves(keep, ["keep.both:pretty"])] == ["pretty"]
    assert [one.threshold.operator for one in curves(keep, ["keep.light"])] == [">=", "<="]
    assert len(curves(keep, ["all"])) == 4
    with pytest.raises(ConfigError, match=r"keep\.both:motion, keep\.both:pretty, keep\.light:motion; name one"):
        curves(keep, ["keep.both:caption"])


def test_the_table_shows_the_rules_own_number_and_json_the_whole_curve():
    (curve,) = curves({"moves": "motion >= 2.5"})
    (marked,) = [line for line in describe(curve).splitlines() if line.endswith("<- now")]
    assert marked.split()[:5] == ["2.5", "2", "2.0000", "40.0%", "0"]
    points = as_json(curve)["points"]
    assert points[0] == {"value": 1.0, "clips": 4, "hours": 4.0, "unknown_clips": 0, "unknown_hours": 0.0}
    assert len(points) == len(curve.value_P)


def test_the_picture_is_a_png_with_a_plot_for_each_curve(tmp_path: Path):
    drawn = {}
    for number, keep in ((1, {"m$x$": "motion >= 2"}), (2, {"m": "motion BETWEEN 1 AND 2"})):
        write_png(curves(keep), tmp_path / "rates.png")
        png = np.fromfile(tmp_path / "rates.png", np.uint8)
        drawn[number] = np.asarray(cv2.imdecode(png, cv2.IMREAD_COLOR)).shape[1]
    assert drawn[2] == 2 * drawn[1]
    with pytest.raises(ConfigError, match="curves are 0"):
        write_png([], tmp_path / "none.png")
    with pytest.raises(ConfigError, match="name a file that can be written"):
        write_png(curves({"m": "motion >= 2"}), tmp_path / "no" / "rates.png")
