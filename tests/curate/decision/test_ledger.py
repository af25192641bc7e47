from fractions import Fraction
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.decision.decide import decide, rule_stats
from curate.decision.ledger import balance, problems
from curate.decision.rules import compile_rules
from shards.errors import ContractError
from shards.schema import CLIP
from tests.curate.tables import SCORES, clip, clips_of, video, videos_of

RULES = compile_rules({"moves": "motion >= 1"}, pa.schema([*CLIP, *SCORES]))
VIDEOS = videos_of(
    video("a"),
    video("b", 50),
    video("b", 50, uri="/copy.mp4", status="rejected", drop_rule="exact_duplicate"),
    video("c", 25, status="failed", error="deadline"),
    {"uri": "/d.mp4", "status": "failed", "error": "not_a_video"},
)
ROWS = [
    clip("a", 0, 50, motion=2),
    clip("a", 50, 60, "fade"),
    clip("a", 60, 100, motion=0.5),
    clip("b", 0, 25, motion=3),
    clip("b", 25, 50, "undecoded", error="scan:frames_lost"),
]


def decided(rows=ROWS, videos=VIDEOS) -> pa.Table:
    return decide(clips_of(*rows), videos, RULES)


def test_every_second_has_one_way_out():
    ledger = balance(VIDEOS, decided())
    ways = {(entry.status, entry.reason, entry.level): entry.seconds for entry in ledger.entries}
    assert ways == {
        ("kept", "", "segment"): Fraction(3),
        ("rejected", "moves", "segment"): Fraction(8, 5),
        ("rejected", "segment_fade", "segment"): Fraction(2, 5),
        ("rejected", "exact_duplicate", "video"): Fraction(2),
        ("failed", "segment_undecoded", "segment"): Fraction(1),
        ("failed", "deadline", "video"): Fraction(1),
        ("failed", "not_a_video", "video"): Fraction(0),
    }
    assert ledger.input_s == ledger.accounted_s == Fraction(9)
    assert (ledger.num_videos, ledger.num_unknown, ledger.kept_s) == (5, 1, Fraction(3))
    assert ledger.balances
    ledger.check()


def test_seconds_of_different_time_bases_add_up_exactly():
    videos = videos_of(video("a", 1001, time_base_num=1, time_base_den=30000), video("b", 1))
    rows = [clip("a", 0, 1001, time_base_den=30000, motion=2), clip("b", 0, 1, motion=2)]
    assert balance(videos, decided(rows, videos)).kept_s == Fraction(1001, 30000) + Fraction(1, 25)


@pytest.mark.parametrize(
    ("missing", "named"),
    [
        (0, "video a: no segment covers pts 0 to 50"),
        (1, "video a: no segment covers pts 50 to 60"),
        (2, "video a: no segment covers pts 60 to 100"),
        (4, "video b: no segment covers pts 25 to 50"),
    ],
)
def test_a_dropped_row_is_found_and_named(missing, named):
    clips = decided([row for index, row in enumerate(ROWS) if index != missing])
    ledger = balance(VIDEOS, clips)
    assert named in ledger.offences
    assert any("are accounted for" in offence for offence in ledger.offences)
    with pytest.raises(ContractError, match=named):
        ledger.check()
    assert any(named in problem for problem in problems(balance(VIDEOS, clips), []))


def test_a_video_without_any_segment_is_found():
    ledger = balance(VIDEOS, decided(ROWS[:3]))
    assert "video b: no segment covers pts 0 to 50" in ledger.offences


def test_a_row_that_is_there_twice_is_found():
    ledger = balance(VIDEOS, decided([*ROWS, ROWS[3]]))
    assert "video b: two segments cover pts 0 to 25" in ledger.offences


def test_an_overlap_that_makes_up_for_a_gap_is_found():
    rows = [clip("b", 0, 30, motion=3), clip("b", 25, 45, motion=3)]
    ledger = balance(VIDEOS, decided([*ROWS[:3], *rows]))
    assert ledger.input_s == ledger.accounted_s
    assert ledger.offences == ["video b: two segments cover pts 25 to 30", "video b: no segment covers pts 45 to 50"]


def test_a_segment_with_another_time_base_is_found():
    rows = [*ROWS[:3], clip("b", 0, 50, time_base_den=50, motion=3)]
    assert any("has its own time base" in offence for offence in balance(VIDEOS, decided(rows)).offences)


def test_a_video_scanned_at_two_uris_is_found():
    videos = videos_of(video("a"), video("a", uri="/again.mp4"))
    assert "video a was scanned at two uris" in balance(videos, decided(ROWS[:3], videos)).offences


def test_a_row_without_decision_and_a_drop_without_reason_are_found():
    clips = decided()
    no_status = clips.set_column(clips.column_names.index("status"), "status", pa.array([None, *["kept"] * 4]))
    assert f"segment {ROWS[0]['clip_id']} has no decision" in balance(VIDEOS, no_status).offences
    silent = videos_of(video("a"), video("x", 50, status="failed"))
    assert "video /x.mp4 was dropped without a reason" in balance(silent, decided(ROWS[:3], silent)).offences


def test_a_clip_that_failed_at_the_cut_leaves_by_its_code():
    clips = decided()
    failed = clips.set_column(
        clips.column_names.index("status"), "status", pa.array(["failed", *clips["status"].to_pylist()[1:]])
    )
    failed = failed.set_column(failed.column_names.index("error"), "error", pa.array(["cut:wrong_count", *[None] * 4]))
    entries = {(entry.status, entry.reason) for entry in balance(VIDEOS, failed).entries}
    assert ("failed", "cut:wrong_count") in entries


def test_only_the_first_offenders_are_named_and_the_rest_counted():
    videos = videos_of(*(video(f"v{index}", status="failed") for index in range(9)))
    offences = balance(
        videos,
        clips_of()
        .append_column("status", pa.array([], pa.string()))
        .append_column("drop_rule", pa.array([], pa.string())),
    ).offences
    assert len(offences) == 6
    assert offences[-1] == "and 4 more of this kind"


def test_a_run_that_keeps_something_and_balances_has_no_problem():
    clips = decided()
    assert problems(balance(VIDEOS, clips), rule_stats(clips, RULES)) == []


def test_a_run_that_keeps_nothing_says_where_everything_went():
    clips = decided([{**row, "motion": 0.1} for row in ROWS])
    found = problems(balance(VIDEOS, clips), rule_stats(clips, RULES))
    assert any("rule moves (motion >= 1) rejects all 3 clips it saw; change keep.moves" in line for line in found)
    assert any(line.startswith("nothing is kept of 5 videos (rejected moves: 3 segments") for line in found)


def test_inputs_that_all_fail_are_a_problem_and_not_a_crash():
    videos = videos_of({"uri": "/d.mp4", "status": "failed", "error": "not_a_video"})
    clips = decide(clips_of(), videos, RULES)
    assert problems(balance(videos, clips), rule_stats(clips, RULES)) == [
        "nothing is kept of 1 videos (failed not_a_video: 1 video)"
    ]


def test_the_funnel_is_text_for_people():
    lines = balance(VIDEOS, decided()).describe().splitlines()
    assert lines[0].split() == ["input", "9.00", "s", "5", "videos,", "1", "of", "unknown", "length"]
    assert lines[1].split() == ["kept", "3.00", "s", "2", "segments"]
    assert lines[2].split() == ["rejected", "2.00", "s", "1", "video", "exact_duplicate"]


@settings(max_examples=50, deadline=None)
@given(cuts=st.sets(st.integers(1, 999), max_size=20), drop=st.integers(0, 20), shift=st.integers(-3, 3))
def test_any_partition_balances_and_any_damage_to_it_does_not(cuts, drop, shift):
    marks = [0, *sorted(cuts), 1000]
    videos = videos_of(video("a", 1000))
    rows = [clip("a", start, end, motion=2) for start, end in pairwise(marks)]
    assert balance(videos, decided(rows, videos)).balances
    victim = drop % len(rows)
    damaged = [row for index, row in enumerate(rows) if index != victim]
    assert not balance(videos, decided(damaged, videos)).balances
    if shift:
        moved = {**rows[victim], "end_pts": rows[victim]["end_pts"] + shift}
        shifted = [moved if index == victim else row for index, row in enumerate(rows)]
        assert not balance(videos, decided(shifted, videos)).balances
