"""Inputs that lack what is required: rejected with a reason, unopened, and taken once it is required no more."""

from pathlib import Path

import pytest

from curate.ask.explain import ask_why
from curate.ask.explain_view import describe
from curate.ask.finished import finished_run
from curate.ask.retry import input_rows
from curate.inputs.ingest import IngestConfig, expand_inputs
from tests.curate.tiny_runs import Calls, curated, draw

LIST = "uri,licence,author\na.mp4,CC0-1.0,Ann\nb.mp4, ,Bob\nc.mp4,MIT,\n"


def test_what_is_required_and_absent_is_the_reason(tmp_path: Path):
    (tmp_path / "list.csv").write_text(LIST)
    rows = expand_inputs([str(tmp_path / "list.csv")], IngestConfig(require=("licence", "author"))).to_pylist()
    assert [(row["status"], row["drop_rule"]) for row in rows] == [
        (None, None),
        ("rejected", "required_licence"),
        ("rejected", "required_author"),
    ]
    rows = expand_inputs([str(tmp_path / "list.csv")], IngestConfig(require=("licence",), licence="own")).to_pylist()
    assert [row["drop_rule"] for row in rows] == [None] * 3
    (row,) = expand_inputs([str(tmp_path / "a.mp4")], IngestConfig(require=("caption",))).to_pylist()
    assert row["drop_rule"] == "required_caption"


def test_a_source_without_a_licence_is_rejected_unopened_and_taken_when_none_is_required(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    draw(tmp_path, ["a", "b", "c"])
    (tmp_path / "list.csv").write_text(LIST)
    calls = Calls(monkeypatch)
    names = [tmp_path / "list.csv"]
    result = curated(names, tmp_path / "run", ingest={"require": ["licence"]}, keep={"key": "key_luma_mean > 0"})
    assert calls.scanned == ["a", "c"]
    assert result.problems == []
    ways = {(entry.status, entry.reason, entry.level): entry.rows for entry in result.ledger.entries}
    assert ways == {("kept", "", "segment"): 2, ("rejected", "required_licence", "video"): 1}
    assert input_rows(finished_run(tmp_path / "run").videos)["drop_rule"].to_pylist() == [
        None,
        "required_licence",
        None,
    ]
    assert "rejected unopened: it came without licence" in describe(ask_why(tmp_path / "run", "b.mp4"))
    calls.clear()
    again = curated(names, tmp_path / "run", keep={"key": "key_luma_mean > 0"})
    assert calls.scanned == ["b"]
    assert sum(entry.rows for entry in again.ledger.entries if entry.status == "kept") == 3
