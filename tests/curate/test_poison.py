"""Files that end the process that opens them: each is tried twice, has a row and a code, and harms no other."""

from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import curate.media.child
from curate.run import Curated
from shards.isolation.child import Child
from tests.curate.tiny_runs import curated, draw

FAULTS = ["crash_probe", "crash_scan", "eat_probe", "hang_probe", "hang_scan", "eat_scan"]
CODES = {"crash": "child_killed", "eat": "out_of_memory", "hang": "deadline"}
DEADLINE_S = 4  # of a call, the start of a child included


@pytest.fixture(autouse=True)
def _poisoned_child(monkeypatch: pytest.MonkeyPatch) -> None:
    def child(module: str, *arguments: object, **keywords: object) -> Child:
        assert module == "curate.media.process"
        return Child("tests.curate.poisoned_process", *arguments, **keywords)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(curate.media.child, "Child", child)


def run_of(folder: Path, bad: list[str], good: list[str]) -> Curated:
    draw(folder / "in", [*bad, *good])
    return curated(
        folder / "in",
        folder / "run",
        media={"limits": {"deadline_s": DEADLINE_S}},
        scan={"deadline_s": DEADLINE_S, "deadline_per_frame_s": 0},
    )


def tries(folder: Path) -> dict[str, int]:
    return {path.stem: path.stat().st_size for path in (folder / "in").glob("*.tries")}


def check(folder: Path, result: Curated, bad: list[str], good: list[str]) -> None:
    videos = pq.read_table(result.run_dir.catalog("videos")).to_pylist()
    found = {Path(row["uri"]).stem: row for row in videos}
    assert {name: found[name]["error"] for name in bad} == {name: CODES[name.partition("_")[0]] for name in bad}
    assert tries(folder) == dict.fromkeys(bad, 2)
    for name in bad:
        if not name.startswith("eat"):  # memory that cannot be had is an exception, and says so itself
            assert f"{name.partition('_')[0]} over {name}.mp4" in found[name]["error_detail"]
        assert found[name]["error_detail"].endswith("tried 2 times")
    assert result.problems == []
    statuses = Counter(pq.read_table(result.run_dir.catalog("clips"))["status"].to_pylist())
    assert statuses == {"kept": len(good)}


def test_a_run_over_six_poisons_and_six_good_files_keeps_the_six(tmp_path: Path):
    bad = [*(name for name in FAULTS if name != "hang_scan"), "crash_probe_again"]  # a hang costs two deadlines
    good = [f"good{number}" for number in range(6)]
    check(tmp_path, run_of(tmp_path, bad, good), bad, good)


@pytest.mark.slow
def test_a_run_over_thirty_poisons_and_thirty_good_files_keeps_the_thirty(tmp_path: Path):
    bad = [f"{fault}_{number}" for number in range(5) for fault in FAULTS]
    good = [f"good{number}" for number in range(30)]
    check(tmp_path, run_of(tmp_path, bad, good), bad, good)


def test_a_file_that_ends_one_child_and_not_the_next_is_kept(tmp_path: Path):
    result = run_of(tmp_path, [], ["once_scan", "good"])
    assert result.ledger.num_unknown == 0
    assert pq.read_table(result.run_dir.catalog("clips"))["status"].to_pylist() == ["kept", "kept"]


def test_a_file_that_ends_every_cut_costs_two_tries_and_not_two_for_each_clip(tmp_path: Path):
    """Its two clips fail with the child's last words as code, and the good file's clip is published."""
    draw(tmp_path / "in", ["crash_cut", "good"])
    result = curated(tmp_path / "in", tmp_path / "run", scenes={"min_clip_s": 0.5, "max_clip_s": 1.0})
    clips = pq.read_table(result.run_dir.catalog("clips"))
    assert Counter(clips["drop_rule"].to_pylist()) == {"cut:child_killed": 2, None: 2}
    assert tries(tmp_path) == {"crash_cut": 2}
    assert result.ledger.balances
