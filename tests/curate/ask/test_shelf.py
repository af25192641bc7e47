"""Which samples say what the catalog says: three clips, by their scores and captions."""

from typing import Any

import pyarrow as pa

from curate.ask.shelf import Shelf, same_samples
from shards.commit import Commit, StoredFile
from shards.schema import CLIP, column, from_rows

SCORES = [
    column("flow_mag", pa.float32(), "", ""),
    column("caption", pa.string(), "", ""),
    column("embedding", pa.list_(pa.float32()), "", ""),
]
CLIPS = pa.schema([*CLIP, *SCORES])
INDEX = pa.schema([column("key", pa.string(), "", ""), *SCORES])


def clip(name: str, flow_mag: float | None = 0.5, caption: str | None = None) -> dict[str, Any]:
    return {"clip_id": name, "flow_mag": flow_mag, "caption": caption, "embedding": [1.0]}


def sample(name: str, flow_mag: float | None = 0.5, caption: str | None = None) -> dict[str, Any]:
    return {"key": name, "flow_mag": flow_mag, "caption": caption, "embedding": [1.0]}


def same(samples: list[dict[str, Any]], clips: list[dict[str, Any]]) -> list[str]:
    return same_samples(from_rows(samples, INDEX), from_rows(clips, CLIPS))


def test_a_sample_counts_if_it_says_what_the_catalog_says_nulls_included():
    clips = [clip("c", None), clip("b", caption="two"), clip("a", caption="one")]
    samples = [sample("a", caption="one"), sample("b", caption="two"), sample("c", None)]
    assert same(samples, clips) == ["a", "b", "c"]


def test_another_caption_another_score_or_a_score_that_came_later_does_not_count():
    clips = [clip("a", caption="new"), clip("b", 0.7), clip("c", 0.5), clip("d")]
    samples = [sample("a", caption="old"), sample("b", 0.5), sample("c", None), sample("d")]
    assert same(samples, clips) == ["d"]


def test_a_clip_that_left_the_catalog_does_not_count():
    assert same([sample("a"), sample("gone")], [clip("a")]) == ["a"]


def test_an_index_without_one_of_the_scores_does_not_count():
    index = from_rows([sample("a")], INDEX).drop_columns(["flow_mag"])
    assert same_samples(index, from_rows([clip("a")], CLIPS)) == []


def test_only_shards_that_hold_a_wanted_clip_are_taken():
    file = StoredFile(path="x", size_bytes=1, sha256="0" * 64)
    commits = [
        Commit(plan_id="0" * 8, shard_no=number, bucket="b", num_samples=1, index=file,
               shard=StoredFile(path=f"{number}.tar", size_bytes=1, sha256="0" * 64))
        for number in range(2)
    ]  # fmt: skip
    shelf = Shelf(1, commits, {"a": "0.tar", "b": "1.tar"})
    assert shelf.commits_of(["b", "elsewhere"]) == [commits[1]]
