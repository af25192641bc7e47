"""Other rules on hand-made rows: every clip lasts one second, so seconds count clips."""

import json
from collections.abc import Collection, Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa

from curate.ask.answers import RuleSet
from curate.ask.what_if import WhatIf, what_if
from curate.ask.what_if_view import as_json, describe
from curate.decision.decide import decide
from curate.decision.rules import compile_rules
from curate.pack import mark_failed
from shards.schema import CLIP, VIDEO, column
from tests.curate.tables import clip, clips_of, video, videos_of

COLUMNS = [
    column("motion", pa.float32(), "", ""),
    column("pretty", pa.float32(), "", ""),
    column("caption", pa.string(), "", ""),
]
SCHEMA = pa.schema([*CLIP, *COLUMNS])
CALM = {"moves": "motion >= 1"}


def rules(keep: Mapping[str, str], video_keep: Mapping[str, str] = {}) -> RuleSet:
    return RuleSet(compile_rules(keep, SCHEMA), compile_rules(video_keep, VIDEO))


def second(number: int, **values: Any) -> dict[str, Any]:
    return clip("a", 25 * number, 25 * number + 25, **values)


def ask(
    rows: list[dict[str, Any]],
    then: Mapping[str, str],
    before: Mapping[str, str] = CALM,
    unseen: Mapping[str, list[int]] = {},
    in_shards: Collection[str] | None = None,
) -> WhatIf:
    """`unseen`: column -> numbers of the rows whose score was never computed."""
    videos = videos_of(video("a", 25 * len(rows)))
    decided = decide(clips_of(*rows, extra=COLUMNS), videos, compile_rules(before, SCHEMA))
    missing = {name: np.isin(np.arange(len(rows)), numbers) for name, numbers in unseen.items()}
    shelf = [row["clip_id"] for row in decided.to_pylist() if row["status"] == "kept"]
    return what_if(decided, videos, rules(before), rules(then), missing, shelf if in_shards is None else in_shards)


def counts(found: WhatIf) -> dict[str, int]:
    names = ("now", "then", "unknown", "failed", "gained", "lost", "to_cut")
    return {name: getattr(found, name).rows for name in names}


def test_the_same_rules_change_nothing():
    found = ask([second(0, motion=0.5), second(1, motion=2), second(2, segment="fade")], CALM)
    assert counts(found) == dict(now=1, then=1, unknown=0, failed=0, gained=0, lost=0, to_cut=0)
    assert (found.candidates.rows, found.then.seconds) == (2, Fraction(1))


def test_tightening_loses_clips_and_cuts_nothing():
    rows = [second(number, motion=number) for number in range(6)]
    found = ask(rows, {"moves": "motion >= 4"})
    assert counts(found) == dict(now=5, then=2, unknown=0, failed=0, gained=0, lost=3, to_cut=0)
    assert found.kept_ids == [rows[4]["clip_id"], rows[5]["clip_id"]]


def test_loosening_gains_clips_that_lie_in_no_shard():
    rows = [second(0, motion=0.25), second(1, motion=0.5), second(2, motion=2)]
    found = ask(rows, {"moves": "motion >= 0.5"})
    assert counts(found) == dict(now=1, then=2, unknown=0, failed=0, gained=1, lost=0, to_cut=1)
    assert found.to_cut_ids == [rows[1]["clip_id"]]


def test_a_clip_that_an_older_version_holds_need_not_be_cut_again():
    rows = [second(0, motion=0.5), second(1, motion=2)]
    found = ask(rows, {"moves": "motion >= 0"}, in_shards=[row["clip_id"] for row in rows])
    assert counts(found) == dict(now=1, then=2, unknown=0, failed=0, gained=1, lost=0, to_cut=0)


def test_a_score_that_was_never_computed_leaves_the_clip_unknown_and_not_failed():
    """`pretty` was not computed for the first two, which `moves` had rejected; the third has no value at all."""
    rows = [second(0, motion=0.5), second(1, motion=0.7), second(2, motion=2), second(3, motion=2, pretty=6)]
    found = ask(rows, {"moves": "motion >= 0.6", "pretty": "pretty >= 5"}, unseen={"pretty": [0, 1]})
    assert counts(found) == dict(now=2, then=1, unknown=1, failed=1, gained=0, lost=1, to_cut=0)
    assert found.unknown_ids == [rows[1]["clip_id"]]
    assert found.missing == {"pretty": 1}


def test_is_null_of_a_score_that_was_never_computed_is_unknown_too():
    rows = [second(0, motion=2), second(1, motion=2), second(2, motion=2, caption="a red square")]
    found = ask(rows, {"told": "caption IS NOT NULL"}, unseen={"caption": [0]})
    assert counts(found) == dict(now=3, then=1, unknown=1, failed=0, gained=0, lost=1, to_cut=0)


def test_what_is_known_decides_where_the_unknown_side_cannot_matter():
    """`OR` with one true side is true whatever the other is; `AND` with one false side is false."""
    rows = [second(0, motion=9), second(1, motion=0)]
    both = {"pretty": [0, 1]}
    assert counts(ask(rows, {"either": "motion > 5 OR pretty > 5"}, unseen=both))["then"] == 1
    found = ask(rows, {"both": "motion > 5 AND pretty IS NOT NULL"}, unseen=both)
    assert (found.then.rows, found.unknown.rows) == (0, 1)


def test_each_rule_says_what_it_alone_removes():
    rows = [
        second(0, motion=0.5, pretty=9),  # only `moves` rejects it
        second(1, motion=0.5, pretty=1),  # both do
        second(2, motion=2, pretty=1),  # only `pretty` does
        second(3, motion=0.5),  # `moves` does; `pretty` was never computed
    ]
    found = ask(rows, {"moves": "motion >= 1", "pretty": "pretty >= 5"}, unseen={"pretty": [3]})
    effects = [(r.name, r.removes.rows, r.alone.rows, r.maybe_alone.rows, r.unknown.rows) for r in found.rules]
    assert effects == [("moves", 3, 1, 1, 0), ("pretty", 2, 1, 0, 1)]
    assert [rule.before for rule in found.rules] == ["motion >= 1", None]
    assert found.unknown.rows == 0


def test_a_rule_that_is_dropped_is_named():
    found = ask([second(0, motion=0.5)], {"told": "caption IS NULL"})
    assert found.dropped == CALM
    assert "no rule any more; was: motion >= 1" in describe(found)


def test_a_clip_that_could_not_be_cut_stays_failed():
    videos = videos_of(video("a", 25))
    row = second(0, motion=2)
    decided = decide(clips_of(row, extra=COLUMNS), videos, compile_rules(CALM, SCHEMA))
    found = what_if(mark_failed(decided, {row["clip_id"]: "cut:cut_not_exact"}), videos, rules(CALM), rules({}), {}, ())
    assert counts(found) == dict(now=0, then=0, unknown=0, failed=1, gained=0, lost=0, to_cut=0)


def test_a_video_that_was_never_scanned_is_unknown_as_a_whole():
    """Four videos of a second; b was stopped at 20, c at 5, and d is b again at another uri."""
    stopped = {"status": "rejected", "drop_rule": "bright"}
    videos = videos_of(
        video("a", 25, key_luma_mean=90),
        video("b", 25, key_luma_mean=20, **stopped),
        video("c", 25, key_luma_mean=5, **stopped),
        video("b", 25, key_luma_mean=20, **stopped) | {"uri": "/again.mp4"},
    )
    before, then = (rules({}, {"bright": f"key_luma_mean >= {level}"}) for level in (50, 10))
    decided = decide(clips_of(second(0), extra=COLUMNS), videos, [])
    found = what_if(decided, videos, before, then, {}, ())
    assert (found.unscanned.rows, found.unscanned.seconds) == (1, Fraction(1))
    assert found.then.rows == 1
    darker = what_if(decided, videos, before, rules({}, {"bright": "key_luma_mean >= 100"}), {}, ())
    assert (darker.then.rows, darker.unscanned.rows, darker.rules[0].alone.rows) == (0, 0, 1)


def test_both_forms_of_the_answer_hold_the_same_numbers():
    found = ask([second(0, motion=0.5), second(1, motion=2)], {"moves": "motion >= 0.1"})
    values = json.loads(json.dumps(as_json(found)))
    assert values["then"] == {"clips": 2, "seconds": 2.0, "hours": 2 / 3600}
    assert values["to_cut_ids"] == list(found.to_cut_ids)
    assert values["rules"][0]["before"] == "motion >= 1"
    assert "would have to be cut           1      0.0003" in describe(found)


def test_no_rules_and_no_clips_are_allowed():
    assert counts(ask([], {}, before={})) == dict.fromkeys(counts(ask([], {})), 0)
