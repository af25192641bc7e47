"""Rules published late, on a small real run: no media child starts, and what is missing is named."""

import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import curate.ask.republish
from curate.ask.explain import ask_why
from curate.ask.republish import republish
from curate.ask.what_if_view import ask_what_if
from curate.config import CurateConfig
from curate.decision.ledger import balance
from curate.media.child import MediaChild
from curate.run import Curated
from reelmill.cli import run as command
from shards.errors import ConfigError
from shards.isolation.child import Child
from shards.reading.reader import open_dataset
from shards.schema import strings
from shards.versions.verify import verify
from tests.curate.tiny_runs import curated, draw


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Curated:
    """Four videos of one clip each; luma changes by 84, 91, 99 and 106 levels a second, and the slowest is rejected."""
    root = tmp_path_factory.mktemp("republish")
    draw(root / "in", ["a", "b", "c", "d"])
    neighbours = {"motion": {"change_step_s": 0.04}, "scan": {"coarse": False}}
    return curated(root / "in", root / "run", keep={"motion": "luma_change >= 88"}, **neighbours)


@pytest.fixture
def root(first: Curated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that run, and no way to open a video."""
    shutil.copytree(first.run_dir.root, tmp_path / "run")
    monkeypatch.setattr(Child, "start", lambda *_: pytest.fail("a child was started"))
    return tmp_path / "run"


def by_motion(result: Curated) -> list[str]:
    return strings(pq.read_table(result.run_dir.catalog("clips")).sort_by("luma_change"), "clip_id")


def published(root: Path) -> set[str]:
    return set(strings(open_dataset(root / "dataset").rows, "key"))


def tars(root: Path) -> list[tuple[str, int]]:
    return sorted((path.name, path.stat().st_mtime_ns) for path in (root / "dataset" / "shards").rglob("*.tar"))


def test_tightening_and_going_back_publish_from_the_same_shards_without_a_media_child(root: Path, first: Curated):
    clips = by_motion(first)
    before = tars(root)
    assert republish(root, ["keep.motion=luma_change >= 103"]).version == 2
    assert published(root) == {clips[3]}
    catalog = [pq.read_table(root / "catalog" / f"{name}.parquet") for name in ("videos", "clips")]
    assert balance(*catalog).balances
    assert strings(catalog[1].filter(catalog[1]["status"].to_numpy() == "kept"), "clip_id") == [clips[3]]
    assert republish(root, ["keep.motion=luma_change >= 103"]).version == 2
    assert republish(root, ["keep.motion=luma_change >= 88"]).version == 3
    assert published(root) == set(clips[1:])
    assert tars(root) == before
    assert verify(root / "dataset") == []


def test_deciding_and_publishing_reads_the_catalog_once(root: Path, monkeypatch: pytest.MonkeyPatch):
    read: list[str] = []
    read_table = pq.read_table

    def counting(path: Any, columns: Any = None, **arguments: Any) -> Any:
        if isinstance(path, Path) and path == root / "catalog" / "clips.parquet":
            read.extend(pq.read_schema(path).names if columns is None else columns)
        return read_table(path, columns=columns, **arguments)

    with monkeypatch.context() as patch:
        patch.setattr(pq, "read_table", counting)
        patch.setattr(curate.ask.republish, "write_report", lambda _: None)  # looks at what was written
        republish(root, ["keep.motion=luma_change >= 103"])
    assert sorted(read) == sorted(pq.read_schema(root / "catalog" / "clips.parquet").names)


def test_a_loosened_rule_names_the_cuts_that_are_missing_and_publishes_nothing(
    root: Path, first: Curated, capsys: pytest.CaptureFixture[str]
):
    clips = by_motion(first)
    assert ask_what_if(root, ["keep.motion=null"]).to_cut_ids == clips[:1]
    assert command(["curate", "decide", str(root), "--set", "keep.motion=null"]) == 0
    said = f"1 clips lie in no shard and are to be cut: {clips[0]}"
    assert said in capsys.readouterr().out
    assert command(["curate", "decide", str(root), "--set", "keep.motion=null", "--publish"]) == 2
    assert said in capsys.readouterr().err
    assert len(published(root)) == 3


def test_the_trap_of_these_tests_would_notice_a_video_that_is_opened(root: Path):
    with MediaChild(CurateConfig().media, root) as child, pytest.raises(pytest.fail.Exception, match="a child was"):
        child.call("header", path=str(root))


def test_rules_that_keep_nothing_publish_nothing(root: Path):
    with pytest.raises(ConfigError, match="rules keep 0 of 4 clips"):
        republish(root, ["keep.motion=luma_change >= 1000"])


def test_scores_that_are_missing_are_named(root: Path, first: Curated):
    """As if no captioner had seen the slowest clip."""
    path = root / "catalog" / "clips.parquet"
    rows = pq.read_table(path)
    slow = by_motion(first)[0]
    cells = [["caption;caption_source" if key == slow else None for key in strings(rows, "clip_id")]]
    pq.write_table(rows.set_column(rows.column_names.index("not_scored"), rows.schema.field("not_scored"), cells), path)
    with pytest.raises(ConfigError, match=rf"1 clips lack scores \(caption\): {slow}"):
        republish(root, ["keep.motion=null", "keep.told=caption IS NULL"])


def test_an_explanation_says_where_the_bytes_lie(root: Path, first: Curated):
    clips = by_motion(first)
    place = ask_why(root, clips[3]).place
    assert place is not None
    sample = open_dataset(root / "dataset")
    row = sample.rows.slice(sample.find(clips[3]), 1).to_pylist()[0]
    assert (place.shard, place.offset, place.size_bytes) == (row["shard"], row["mp4_offset"], row["mp4_size"])
    assert ask_why(root, clips[0]).place is None
