"""Changed rules and published shards: what is cut, what is taken as it is. Cut calls are counted."""

import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import curate.pack
from curate.run import Curated
from curate.rundir import read_json
from shards.errors import ClipError
from shards.reading.reader import open_dataset
from shards.schema import strings
from shards.versions.verify import verify
from tests.curate.tiny_runs import NUM_FRAMES, Calls, curated, draw


def published(result: Curated) -> set[str]:
    return set(strings(open_dataset(result.run_dir.dataset).rows, "key"))


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Curated:
    """Four videos of one clip each, all published, two in a shard."""
    root = tmp_path_factory.mktemp("reuse")
    draw(root / "in", ["a", "b", "c", "d"])
    return run_of(root)


@pytest.fixture
def root(first: Curated, tmp_path: Path) -> Path:
    """A copy of that run over the same inputs."""
    shutil.copytree(first.run_dir.root, tmp_path / "run")
    (tmp_path / "in").symlink_to(first.run_dir.root.parent / "in")
    return tmp_path


def run_of(root: Path, keep: dict[str, str] | None = None, **config: Any) -> Curated:
    return curated((root / "in").resolve(), root / "run", keep=keep or {}, pack={"samples_per_shard": 2}, **config)


def by_motion(result: Curated) -> tuple[list[str], list[float]]:
    """Clips from the slowest to the fastest, and how fast they are."""
    clips = pq.read_table(result.run_dir.catalog("clips")).sort_by("flow_mag")
    return strings(clips, "clip_id"), clips["flow_mag"].to_numpy().tolist()


def tars(root: Path) -> set[str]:
    return {path.name for path in (root / "run" / "dataset" / "shards").rglob("*.tar")}


def test_tightening_publishes_from_the_same_shards_and_cuts_nothing(root: Path, first: Curated, monkeypatch):
    calls, before = Calls(monkeypatch), tars(root)
    clips, speed = by_motion(first)
    tight = run_of(root, {"motion": f"flow_mag > {speed[0]}"})
    assert (calls.scanned, calls.cut) == ([], [])
    assert tight.manifest is not None
    assert tight.manifest.version == 2
    assert published(tight) == set(clips[1:])
    frames = [read_json(result.run_dir.root / "metrics.json")["frames"] for result in (first, tight)]
    assert [counts["published_copy"] for counts in frames] == [4 * NUM_FRAMES, 3 * NUM_FRAMES]
    assert tars(root) == before
    assert verify(tight.run_dir.dataset, frames=True) == []


def test_loosening_cuts_only_what_no_shard_has(tmp_path: Path, first: Curated, monkeypatch):
    (tmp_path / "in").symlink_to(first.run_dir.root.parent / "in")
    clips, speed = by_motion(first)
    calls = Calls(monkeypatch)
    run_of(tmp_path, {"motion": f"flow_mag > {speed[1]}"})
    assert sorted(calls.cut) == sorted(clips[2:])
    calls.clear()
    loose = run_of(tmp_path, {"motion": f"flow_mag > {speed[0]}"})
    assert (calls.scanned, calls.cut) == ([], [clips[1]])
    assert published(loose) == set(clips[1:])
    calls.clear()
    run_of(tmp_path, {"motion": f"flow_mag > {speed[2]}"})
    back = run_of(tmp_path, {"motion": f"flow_mag > {speed[0]}"})
    assert calls.cut == []
    assert published(back) == set(clips[1:])
    assert len(tars(tmp_path)) == 2


def test_a_killed_pack_is_planned_again_as_it_was(tmp_path: Path, first: Curated, monkeypatch):
    """Stopped at the third of four clips: the first shard is there, and the end is the same as without."""
    (tmp_path / "in").symlink_to(first.run_dir.root.parent / "in")
    calls = Calls(monkeypatch)
    counted = curate.pack.cut_clip

    def interrupted(*arguments: Any) -> Any:
        if len(calls.cut) == 2:
            raise KeyboardInterrupt
        return counted(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(curate.pack, "cut_clip", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_of(tmp_path)
    calls.clear()
    run_of(tmp_path)
    assert len(calls.cut) == 2
    assert tars(tmp_path) == tars(first.run_dir.root.parent)


def test_another_caption_makes_the_shard_of_that_clip_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The shard's other clip is cut again with it: a key is published from one shard."""
    a, *_ = draw(tmp_path / "in", ["a", "b", "c"])
    run_of(tmp_path)
    calls = Calls(monkeypatch)
    a.with_suffix(".txt").write_text("words", encoding="utf-8")
    result = run_of(tmp_path)
    dataset = open_dataset(result.run_dir.dataset)
    assert sorted(dataset.rows["caption"].to_pylist(), key=str) == [None, None, "words"]
    assert len(calls.cut) in (1, 2)  # by its id, the clip may lie alone
    assert verify(result.run_dir.dataset) == []


def test_a_clip_that_cannot_be_cut_is_not_tried_at_every_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    draw(tmp_path / "in", ["a", "b", "c"])
    calls = Calls(monkeypatch)
    counted = curate.pack.cut_clip

    def refuse_first(*arguments: Any) -> Any:
        result = counted(*arguments)
        if arguments[3]["clip_id"] == calls.cut[0]:
            raise ClipError("it shows another frame", "cut_not_exact")
        return result

    monkeypatch.setattr(curate.pack, "cut_clip", refuse_first)
    one = run_of(tmp_path)
    bad = calls.cut[0]
    again = run_of(tmp_path)
    assert len(calls.cut) == 3
    for result in (one, again):
        clips = pq.read_table(result.run_dir.catalog("clips"))
        assert (
            dict(zip(*(clips[name].to_pylist() for name in ("clip_id", "drop_rule")), strict=True))[bad]
            == "cut:cut_not_exact"
        )
        assert bad not in published(result)
    assert again.manifest == one.manifest
