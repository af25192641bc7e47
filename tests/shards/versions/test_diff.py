from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from shards.errors import ConfigError
from shards.format.commit import Commit, commit_shard
from shards.format.index import ROW
from shards.storage.store import LocalFolder
from shards.versions.diff import Move, count_moves, diff
from shards.versions.publish import publish
from shards.versions.splits import SplitConfig

CommitClips = Callable[..., Commit]
ALL_TRAIN = SplitConfig(val=0.0)


@pytest.fixture
def dataset(tmp_path: Path) -> LocalFolder:
    return LocalFolder(tmp_path / "dataset")


def test_samples_that_came_and_went_are_named(dataset: LocalFolder, commit_clips: CommitClips):
    first = [commit_clips(0, ["a", "b"]), commit_clips(1, ["c"])]
    publish(dataset, first, {}, ALL_TRAIN)
    publish(dataset, [first[0], commit_clips(2, ["d", "e"])], {}, ALL_TRAIN, keep_keys={"a", "d", "e"})
    found = diff(dataset)
    assert (found.before.version, found.after.version) == (1, 2)
    assert (found.added, found.removed) == (["d", "e"], ["b", "c"])
    assert (found.changed, found.moves) == ({}, [])
    assert found.shards() == ([f"shards/toy/{'ab' * 4}-000002.tar"], [f"shards/toy/{'ab' * 4}-000001.tar"])


def test_other_bytes_under_the_same_key_are_a_change(dataset: LocalFolder, commit_clips: CommitClips):
    publish(dataset, [commit_clips(0, ["a", "b"])], {}, ALL_TRAIN)
    publish(dataset, [commit_clips(0, ["a", "b"], plan_id="cd" * 32, caption="another")], {}, ALL_TRAIN)
    found = diff(dataset)
    assert found.changed == {"a": ["json", "txt"], "b": ["json", "txt"]}
    assert not found.same_samples


def test_moves_between_splits_are_named_and_counted(dataset: LocalFolder, commit_clips: CommitClips):
    commit = commit_clips(0, [f"clip-{number}" for number in range(20)])
    publish(dataset, [commit], {}, ALL_TRAIN)
    second = publish(dataset, [commit], {}, SplitConfig(val=0.5))
    moves = diff(dataset).moves
    assert count_moves(moves) == {"train to val": second.splits["val"].num_samples}
    assert set(diff(dataset, 2, 1).moves) == {Move(move.key, "val", "train") for move in moves}


def test_columns_and_totals_that_differ_are_named(
    dataset: LocalFolder,
    tmp_path: Path,
    commit_clips: CommitClips,
    row_of: Callable[..., dict[str, object]],
    mp4: bytes,
):
    publish(dataset, [commit_clips(0, ["a", "b"])], {}, ALL_TRAIN)
    rows = pa.Table.from_pylist([row_of("a", mp4)], schema=ROW)
    rows = rows.append_column("sharpness", pa.array([1.0], pa.float32()))
    publish(dataset, [commit_shard(dataset, "cd" * 32, 0, "toy", rows, [{"mp4": mp4}], tmp_path)], {}, ALL_TRAIN)
    found = diff(dataset)
    assert found.columns() == (["sharpness"], ["motion"], [])
    assert found.stats()["num_samples"] == (2, 1)
    assert found.stats()["num_frames"] == (48, 24)
    assert found.changed == {"a": ["json"]}  # the scores stand in it


def test_a_version_and_itself_are_the_same(dataset: LocalFolder, commit_clips: CommitClips):
    publish(dataset, [commit_clips(0, ["a"])], {}, ALL_TRAIN)
    found = diff(dataset, 1, 1)
    assert found.same_samples
    assert (found.columns(), found.stats(), found.shards()) == (([], [], []), {}, ([], []))


def test_the_first_version_has_none_before_it(dataset: LocalFolder, commit_clips: CommitClips):
    publish(dataset, [commit_clips(0, ["a"])], {}, ALL_TRAIN)
    with pytest.raises(ConfigError, match=r"no version before 1; two are compared; give --from"):
        diff(dataset)
