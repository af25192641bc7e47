from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shards.errors import ConfigError, ContractError
from shards.format.commit import Commit
from shards.reading.reader import open_dataset
from shards.storage.store import LocalFolder
from shards.versions.append import append
from shards.versions.diff import Move, diff
from shards.versions.publish import publish
from shards.versions.splits import SplitConfig
from shards.versions.verify import verify

CommitClips = Callable[..., Commit]
HALVES = SplitConfig(val=0.5)


@pytest.fixture
def dataset(tmp_path: Path) -> LocalFolder:
    return LocalFolder(tmp_path / "dataset")


def test_appended_shards_join_what_the_newest_version_publishes(dataset: LocalFolder, commit_clips: CommitClips):
    publish(dataset, [commit_clips(0, ["a", "b", "c"])], {"run": 1}, HALVES, keep_keys={"a", "c"})
    manifest = append(dataset, [commit_clips(0, ["d"], plan_id="cd" * 32)])
    assert open_dataset(dataset).rows.column("key").to_pylist() == ["a", "c", "d"]
    assert (manifest.version, manifest.config, manifest.split_config) == (2, {"run": 1}, HALVES)
    assert verify(dataset, frames=True) == []


def test_appending_again_changes_nothing(dataset: LocalFolder, commit_clips: CommitClips):
    first = append(dataset, [commit_clips(0, ["a"])], {"run": 1}, HALVES)
    second = append(dataset, [commit_clips(1, ["b"])])
    assert append(dataset, [commit_clips(0, ["a"]), commit_clips(1, ["b"])]) == second
    assert (first.version, second.version) == (1, 2)


def test_appended_sources_move_no_old_sample(dataset: LocalFolder, commit_clips: CommitClips):
    append(dataset, [commit_clips(0, [f"old-{number}" for number in range(30)])], {}, HALVES)
    manifest = append(dataset, [commit_clips(1, [f"new-{number}" for number in range(30)])])
    assert diff(dataset).moves == []
    assert min(stats.num_samples for name, stats in manifest.splits.items() if name != "test") > 10


def test_a_duplicate_that_joins_two_sides_moves_one_and_says_so(dataset: LocalFolder, commit_clips: CommitClips):
    commits = [commit_clips(number, [f"clip-{number}"], dup_group=f"group-{number}") for number in range(12)]
    append(dataset, commits, {}, HALVES)
    side_of = dict(zip(*open_dataset(dataset).rows.select(["key", "split"]).to_pydict().values(), strict=True))
    train, val = (min(key for key, side in side_of.items() if side == wanted) for wanted in ("train", "val"))
    low, high = sorted((train, val))
    # The bridge: another clip of the one source, in the duplicate group of the other.
    append(dataset, [commit_clips(20, ["zz"], video_id=f"video-of-{low}", dup_group=high.replace("clip", "group"))])
    assert diff(dataset).moves == [Move(high, side_of[high], side_of[low])]  # to the side of the smaller source
    assert verify(dataset) == []  # no source and no group on two sides


def test_two_who_append_at_once_lose_nothing(dataset: LocalFolder, commit_clips: CommitClips):
    append(dataset, [commit_clips(0, ["a"])])
    commits = [commit_clips(number, [f"clip-{number}"]) for number in range(1, 5)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda commit: append(dataset, [commit]), commits))
    opened = open_dataset(dataset)
    assert opened.manifest.version == 5
    assert set(opened.rows.column("key").to_pylist()) == {"a", *(f"clip-{number}" for number in range(1, 5))}


def test_appending_divides_as_before_and_publishes_a_key_once(dataset: LocalFolder, commit_clips: CommitClips):
    append(dataset, [commit_clips(0, ["a"])], {}, HALVES)
    with pytest.raises(ConfigError, match="publish all commits to divide anew"):
        append(dataset, [commit_clips(1, ["b"])], splits=SplitConfig(val=0.1))
    with pytest.raises(ContractError, match="2 samples have 1 keys"):
        append(dataset, [commit_clips(0, ["a"], plan_id="cd" * 32)])
