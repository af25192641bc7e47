"""Explanations of an invented run: a clip for each verdict, with numbers that were chosen for it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from curate.ask.explain import ask_why, rule_answer
from curate.ask.explain_view import as_json, describe
from curate.config import CurateConfig
from curate.decision.rules import compile_rules
from shards.ids import clip_id
from tests.curate import run_dirs

GOOD = {
    "luma_change": 12.0,
    "luma_mean": 100.0,
    "border_share": 0.0,
    "is_duplicate": False,
    "caption": "x",
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five segments of two seconds of one video; a copy of it, a video stopped by its key frames, two failed ones."""
    root = tmp_path_factory.mktemp("run")
    own = run_dirs.toy_video(0, 5)
    copy = own | {"uri": "/videos/copy.mp4", "status": "rejected", "drop_rule": "exact_duplicate"}
    dark = run_dirs.toy_video(1, 5) | {"key_luma_mean": 7.5, "status": "rejected", "drop_rule": "lit"}
    rows = [
        segment(0, status="kept"),
        segment(1, luma_change=4.5, luma_mean=10.0, status="rejected", drop_rule="moves", drop_value=4.5),
        segment(2, segment="fade", status="rejected", drop_rule="segment_fade"),
        segment(3, luma_change=None, status="failed", drop_rule="moves", error="motion:clip_too_short"),
        segment(4, status="failed", drop_rule="cut:cut_not_exact", error="cut:cut_not_exact"),
    ]
    run_dirs.write_catalog(root, [own, copy, dark, *run_dirs.failed_videos()], rows)
    config = CurateConfig(keep=run_dirs.KEEP | {"lit": "key_luma_mean >= 10"})
    (root / "config.yaml").write_text(config.to_yaml(), encoding="utf-8")
    return root


def segment(number: int, **values: Any) -> dict[str, Any]:
    video_id, start = run_dirs.toy_video(0, 5)["video_id"], 50 * number
    span = {"start_pts": start, "end_pts": start + 50, "time_base_num": 1, "time_base_den": 25, "num_frames": 50}
    ids = {"clip_id": clip_id(video_id, 0, start, start + 50), "video_id": video_id, "stream_index": 0}
    kinds = {"start_kind": "cut", "end_kind": "fade", "cut_confidence": 0.75}
    return ids | span | kinds | {"segment": "clip"} | GOOD | values


def test_a_rejected_second_names_rule_value_number_and_distance(root: Path):
    found = ask_why(root, "holiday 00.mp4@2.5")
    text = describe(found)
    assert "verdict   rejected by rule moves, the first that is false" in text
    assert "luma_change is 4.5, 1.5 (25 %) below 6; wanted >= 6" in text
    assert "clip 0:02.00 to 0:04.00, pts 50 to 100, 50 frames" in text
    assert "begins with cut (confidence 0.75), ends with fade" in text
    answers = {rule.name: rule.answer for rule in found.rules}
    assert answers == {"moves": False, "bright_enough": False, "no_borders": True, "unique": True}


def test_its_neighbours_stand_before_and_after_it(root: Path):
    found = ask_why(root, segment(1)["clip_id"])
    assert (found.before or {})["start_pts"] == 0
    assert (found.after or {})["segment"] == "fade"
    first = ask_why(root, segment(0)["clip_id"])
    assert first.before is None
    assert "before    none: the video begins" in describe(first)


def test_a_kept_clip_that_no_shard_holds_says_so(root: Path):
    text = describe(ask_why(root, f"{segment(0)['clip_id']}"))
    assert "kept: every rule is true" in text
    assert "in no published shard" in text


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (4, "rejected: no candidate, a ramp to or from black"),
        (6, "failed: rule moves has no answer, since a score has no value"),
        (6, "luma_change has no value; wanted >= 6"),
        (6, "codes: motion:clip_too_short"),
        (8, "failed: kept by every rule, but it could not be cut (cut_not_exact)"),
    ],
)
def test_every_other_way_out_has_its_words(root: Path, second: int, words: str):
    assert words in describe(ask_why(root, f"holiday 00@{second}"))


def test_a_video_that_went_as_a_whole_says_how(root: Path):
    assert "taken from /videos/holiday 00.mp4" in describe(ask_why(root, "copy.mp4"))
    dark = describe(ask_why(root, "holiday 01.mp4@3"))
    assert "rejected as a whole by rule lit, before its scan" in dark
    assert "key_luma_mean is 7.5, 2.5 (25 %) below 10; wanted >= 10" in dark
    assert "failed as a whole: empty_file" in describe(ask_why(root, "empty"))


def test_strangers_text_does_not_reach_the_terminal(root: Path):
    text = describe(ask_why(root, "/videos/<script>alert(1)</script>\x1b[31m\u202egpj.mp4"))
    assert "\\x1b[31m\\u202egpj.mp4" in text
    assert text.isprintable() or all(line.isprintable() for line in text.splitlines())


def test_without_a_second_all_segments_are_listed(root: Path):
    text = describe(ask_why(root, "holiday 00.mp4"))
    assert "scanned: 5 segments" in text
    assert text.count("pts ") == 5


def test_the_same_in_json(root: Path):
    values = json.loads(json.dumps(as_json(ask_why(root, "holiday 00@2.5"))))
    assert values["rules"][0]["measures"] == [
        {"quantity": "luma_change", "operator": ">=", "limit": 6.0, "value": 4.5, "holds": False, "off": -1.5}
    ]
    assert (values["second"], values["segment"]["drop_rule"]) == (2.5, "moves")


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("caption_similarity >= 0.5 AND caption IS NOT NULL", "0.25 (50 %) below 0.5; wanted >= 0.5; caption is 'x'"),
        ("NOT (caption_similarity < 0.5)", "0.25 (50 %) below 0.5; wanted >= 0.5"),
    ],
)
def test_a_rule_names_all_it_reads_and_what_it_wants(root: Path, expression: str, words: str):
    row = pa.table({"caption_similarity": [0.25], "caption": ["x"]})
    (rule,) = compile_rules({"said": expression}, row.schema)
    found = replace(ask_why(root, "holiday 00.mp4@2.5"), rules=[rule_answer(rule, row)])
    assert f"false    caption_similarity is 0.25, {words}\n" in describe(found)
