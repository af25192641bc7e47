from pathlib import Path

import pyarrow.parquet as pq
import pytest

from curate.parts import group_rows, weight
from curate.rundir import RunDir
from tests.curate.tiny_runs import Calls, curated, draw


def test_tiny_files_share_a_part_and_large_ones_do_not():
    """A part of 2 holds two files of 256 kB, four of 128 kB, thirty-two of nothing."""
    assert [weight(size) for size in (0, 1000, 128 << 10, 256 << 10, 1 << 40)] == [1 / 16, 1 / 16, 0.5, 1, 1]
    sizes = [1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 1.0, *[1 / 16] * 17]
    assert [len(rows) for rows in group_rows(range(len(sizes)), sizes, 2)] == [2, 4, 17, 1]


def part_files(root: Path) -> set[str]:
    folders = ("videos", "clips", "frames", "models", "costs")
    return {f"{folder}/{path.name}" for folder in folders for path in (root / "parts" / folder).iterdir()}


def rows(root: Path, name: str, *columns: str) -> list[tuple]:
    table = pq.read_table(RunDir(root).catalog(name), columns=list(columns))
    return list(zip(*table.to_pydict().values(), strict=True))


def test_only_what_is_new_or_changed_is_scanned_wherever_its_name_sorts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Parts hold two videos; one that sorts first would move every boundary. The catalog is that of a fresh run."""
    calls = Calls(monkeypatch)
    draw(tmp_path / "in", ["b", "c", "d"])
    curated(tmp_path / "in", tmp_path / "run")
    assert calls.scanned == ["b", "c", "d"]
    before = part_files(tmp_path / "run")

    calls.clear()
    draw(tmp_path / "in", ["a", "d"])
    (tmp_path / "in" / "d.mp4").touch()
    result = curated(tmp_path / "in", tmp_path / "run")
    assert calls.scanned == ["a", "d"]
    assert result.problems == []
    assert len(part_files(tmp_path / "run")) == len(before) == len(part_files(tmp_path / "run") & before) * 2
    curated(tmp_path / "in", tmp_path / "fresh")
    for name in ("videos", "clips"):
        tables = [pq.read_table(RunDir(tmp_path / run).catalog(name)) for run in ("run", "fresh")]
        assert tables[0] == tables[1]


def test_an_input_that_is_gone_takes_its_rows_along_and_at_last_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    calls = Calls(monkeypatch)
    a, b, c, _ = draw(tmp_path / "in", ["a", "b", "c", "d"])
    curated(tmp_path / "in", tmp_path / "run")
    calls.clear()
    before = part_files(tmp_path / "run")
    curated([b, c], tmp_path / "run")
    assert [Path(uri).stem for (uri,) in rows(tmp_path / "run", "videos", "uri")] == ["b", "c"]
    assert len(rows(tmp_path / "run", "clips", "clip_id")) == 2
    assert part_files(tmp_path / "run") == before
    curated([a, b], tmp_path / "run")
    assert calls.scanned == []
    assert len(part_files(tmp_path / "run")) == len(before) / 2  # the part of c and d had no input left


def test_of_equal_files_the_one_that_stays_brings_its_own_caption(tmp_path: Path):
    """Both lie in one part, and its clip has the caption of the first; without the first it is made anew."""
    (first,) = draw(tmp_path / "in", ["a"])
    second = first.with_name("b.mp4")
    second.write_bytes(first.read_bytes())
    first.with_suffix(".txt").write_text("words of a", encoding="utf-8")
    second.with_suffix(".txt").write_text("words of b", encoding="utf-8")
    curated([first, second], tmp_path / "run")
    assert rows(tmp_path / "run", "clips", "caption") == [("words of a",)]
    curated([second], tmp_path / "run")
    assert rows(tmp_path / "run", "clips", "caption") == [("words of b",)]


def test_a_rule_over_key_frames_is_loosened_by_scanning_what_it_stopped_and_tightened_by_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    calls = Calls(monkeypatch)
    draw(tmp_path / "in", ["a", "b"])
    run = tmp_path / "run"
    strict = curated(tmp_path / "in", run, keep={"lit": "key_luma_mean >= 250"})
    assert any("nothing is kept" in problem for problem in strict.problems)
    assert calls.scanned == []
    curated(tmp_path / "in", run, keep={"lit": "key_luma_mean >= 10"})
    assert calls.scanned == ["a", "b"]
    calls.clear()
    again = curated(tmp_path / "in", run, keep={"lit": "key_luma_mean >= 250"})
    assert calls.scanned == []
    assert rows(run, "videos", "status", "drop_rule") == [("rejected", "lit")] * 2
    assert rows(run, "clips", "clip_id") == []
    assert again.ledger.balances
