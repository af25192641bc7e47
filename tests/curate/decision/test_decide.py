import time
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest

from curate.decision.decide import decide, rule_stats
from curate.decision.rules import compile_rules
from shards.errors import ContractError
from shards.schema import CLIP, DECISION
from tests.curate.tables import SCORES, clip, clips_of, video, videos_of

SCHEMA = pa.schema([*CLIP, *SCORES])
RULES = compile_rules({"moves": "motion >= 1", "calm": "motion <= 5", "first": "NOT is_duplicate"}, SCHEMA)


def decided(*rows: dict, rules=RULES) -> list[tuple]:
    table = decide(clips_of(*rows), videos_of(video("a")), rules)
    return list(zip(*(table[name].to_pylist() for name in DECISION.names), strict=True))


def test_the_first_rule_that_is_false_rejects_and_its_value_is_kept():
    rows = [
        clip("a", 0, 50, motion=0.5, is_duplicate=True),
        clip("a", 50, 75, motion=9.0, is_duplicate=True),
        clip("a", 75, 80, motion=3.0, is_duplicate=True),
        clip("a", 80, 100, motion=3.0, is_duplicate=False),
    ]
    assert decided(*rows) == [
        ("rejected", "moves", 0.5),
        ("rejected", "calm", 9.0),
        ("rejected", "first", None),
        ("kept", None, None),
    ]


def test_a_null_score_fails_the_clip_by_the_rule_that_needs_it():
    assert decided(clip("a", 0, 100, is_duplicate=False)) == [("failed", "moves", None)]


def test_a_clip_that_a_later_rule_rejects_does_not_fail_by_a_score_nobody_computed():
    assert decided(clip("a", 0, 100, is_duplicate=True)) == [("rejected", "first", None)]


def test_segments_that_are_no_clip_leave_by_their_own_name():
    kinds = ("fade", "too_short", "undecoded")
    rows = [clip("a", 10 * index, 10 * index + 10, segment) for index, segment in enumerate(kinds)]
    assert decided(*rows) == [
        ("rejected", "segment_fade", None),
        ("rejected", "segment_too_short", None),
        ("failed", "segment_undecoded", None),
    ]


def test_without_rules_every_clip_is_kept():
    assert decided(clip("a", 0, 90), clip("a", 90, 100, "fade"), rules=[]) == [
        ("kept", None, None),
        ("rejected", "segment_fade", None),
    ]


def test_no_clips_give_a_table_with_the_columns_and_no_row():
    table = decide(clips_of(), videos_of(video("a")), RULES)
    assert table.schema.names[-3:] == DECISION.names
    assert [table.schema.field(name).type for name in DECISION.names] == [field.type for field in DECISION]


def test_deciding_again_replaces_the_decision():
    once = decide(clips_of(clip("a", 0, 100, motion=3, is_duplicate=False)), videos_of(video("a")), RULES)
    stricter = compile_rules({"moves": "motion >= 4"}, SCHEMA)
    again = decide(once, videos_of(video("a")), stricter)
    assert again.schema.names == once.schema.names
    assert again["drop_rule"].to_pylist() == ["moves"]


def test_a_segment_of_a_video_that_was_not_scanned_stops_everything():
    with pytest.raises(ContractError, match="only a video with status ok has segments"):
        decide(clips_of(clip("a", 0, 100)), videos_of(video("a", status="failed", error="truncated")), RULES)


def test_the_statistics_say_what_each_rule_saw_removed_and_removed_alone():
    rows = [
        clip("a", 0, 25, motion=0.5, is_duplicate=True),
        clip("a", 25, 50, motion=0.5, is_duplicate=False),
        clip("a", 50, 75, motion=3.0, is_duplicate=True),
        clip("a", 75, 100, is_duplicate=False),
        clip("a", 100, 125, "fade"),
    ]
    stats = rule_stats(decide(clips_of(*rows), videos_of(video("a", 125)), RULES), RULES)
    seen = [(item.name, item.seen, item.rejects, item.unknown, item.removed, item.removed_alone) for item in stats]
    assert seen == [("moves", 3, 2, 1, 3, 1), ("calm", 3, 0, 1, 0, 0), ("first", 4, 2, 0, 1, 1)]
    assert [item.removed_s for item in stats] == [Fraction(3), Fraction(0), Fraction(1)]
    assert not any(item.rejects_all for item in stats)


def test_a_rule_that_rejects_everything_it_saw_is_marked():
    rows = [clip("a", 0, 50, motion=3), clip("a", 50, 100)]
    rules = compile_rules({"fast": "motion > 1000"}, SCHEMA)
    (stats,) = rule_stats(decide(clips_of(*rows), videos_of(video("a")), rules), rules)
    assert (stats.seen, stats.rejects, stats.unknown, stats.rejects_all) == (1, 1, 1, True)


def test_a_hundred_thousand_clips_are_decided_in_two_seconds():
    number = 100_000
    base = clips_of(*(clip("a", index, index + 1) for index in range(1000)), extra=()).to_pydict()
    columns = {name: values * (number // 1000) for name, values in base.items()}
    motion = pa.array(np.random.default_rng(0).uniform(0, 6, number), pa.float32())
    table = pa.table({**columns, "motion": motion, "is_duplicate": [False] * number}, schema=SCHEMA)
    start_s = time.process_time()
    result = decide(table, videos_of(video("a")), RULES)
    stats = rule_stats(result, RULES)
    assert time.process_time() - start_s < 2
    assert sum(item.removed for item in stats) == number - result["status"].to_pylist().count("kept")
