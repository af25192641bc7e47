from collections.abc import Callable
from pathlib import Path

import pytest

from shards.errors import ConfigError, ContractError
from shards.format.commit import Commit, commit_path, list_commits, parse_commit, read_commit

CommitClips = Callable[..., Commit]
ID = "ab" * 32


def files_of(dataset: Path) -> dict[str, bytes]:
    return {str(file.relative_to(dataset)): file.read_bytes() for file in dataset.rglob("*") if file.is_file()}


def test_a_shard_is_a_tar_an_index_and_a_record(tmp_path: Path, commit_clips: CommitClips):
    commit = commit_clips(7, ["a", "b"])
    files = files_of(tmp_path / "dataset")
    tar, index, record = (
        "shards/toy/abababab-000007.tar",
        "index/toy/abababab-000007.parquet",
        "commits/abababab/000007.json",
    )
    assert sorted(files) == sorted([tar, index, record])
    assert (commit.num_samples, commit.shard.path, commit.index.path) == (2, tar, index)
    assert parse_commit(files[record], record) == commit == read_commit(tmp_path / "dataset", ID, 7)


def test_a_second_attempt_finds_what_it_wanted_to_write(tmp_path: Path, commit_clips: CommitClips):
    first = commit_clips(0, ["a", "b"])
    before = files_of(tmp_path / "dataset")
    assert commit_clips(0, ["a", "b"]) == first
    assert files_of(tmp_path / "dataset") == before


@pytest.mark.parametrize("survivors", [0, 1, 2])
def test_an_attempt_killed_between_two_writes_is_finished_by_the_next(
    tmp_path: Path, commit_clips: CommitClips, survivors: int
):
    """What a kill leaves: nothing, the tar, or tar and index; never the record."""
    commit = commit_clips(0, ["a", "b"])
    before = files_of(tmp_path / "dataset")
    for path in [commit_path(ID, 0), commit.index.path, commit.shard.path][: 3 - survivors]:
        (tmp_path / "dataset" / path).unlink()
    assert read_commit(tmp_path / "dataset", ID, 0) is None
    assert commit_clips(0, ["a", "b"]) == commit
    assert files_of(tmp_path / "dataset") == before


def test_a_zombie_with_other_bytes_is_refused_and_changes_nothing(tmp_path: Path, commit_clips: CommitClips):
    commit_clips(0, ["a", "b"])
    before = files_of(tmp_path / "dataset")
    with pytest.raises(ContractError, match="find the stage that is not deterministic"):
        commit_clips(0, ["a", "b"], caption="another caption")
    assert files_of(tmp_path / "dataset") == before


def test_scratch_is_left_empty(tmp_path: Path, commit_clips: CommitClips):
    commit_clips(0, ["a"])
    assert [item.name for item in tmp_path.iterdir()] == ["dataset"]


def test_commits_of_several_plans_are_told_apart(tmp_path: Path, commit_clips: CommitClips):
    other = "cd" * 32
    first, second, third = commit_clips(1, ["a"]), commit_clips(0, ["b"]), commit_clips(0, ["c"], plan_id=other)
    assert list_commits(tmp_path / "dataset", ID) == [second, first]
    assert list_commits(tmp_path / "dataset", "cd") == [third]
    with pytest.raises(ConfigError, match="name one of them"):
        list_commits(tmp_path / "dataset")


def test_a_record_of_another_plan_with_the_same_first_digits_is_refused(tmp_path: Path, commit_clips: CommitClips):
    commit_clips(0, ["a"])
    with pytest.raises(ContractError, match="use another folder"):
        read_commit(tmp_path / "dataset", "ab" * 4 + "0" * 56, 0)


def test_a_damaged_record_is_refused():
    with pytest.raises(ContractError, match="is no completion record"):
        parse_commit(b'{"plan_id": "zz"}', "commits/x/0.json")
