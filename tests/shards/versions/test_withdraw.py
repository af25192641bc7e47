from collections.abc import Callable
from pathlib import Path

import pytest

from shards.errors import ConfigError, ContractError
from shards.format.commit import Commit, list_commits
from shards.reading.reader import open_dataset
from shards.schema import strings
from shards.storage.store import LocalFolder
from shards.versions.append import append
from shards.versions.manifest import Manifest, read_manifest, versions
from shards.versions.publish import publish
from shards.versions.splits import SplitConfig
from shards.versions.tombstones import Withdrawal
from shards.versions.verify import verify
from shards.versions.withdraw import lift, withdraw

CommitClips = Callable[..., Commit]
ALL_TRAIN = SplitConfig(val=0.0)


@pytest.fixture
def dataset(tmp_path: Path, commit_clips: CommitClips) -> LocalFolder:
    """Samples a, b of source one; c, d of sources of their own."""
    commits = [commit_clips(0, ["a", "b"], video_id="one", source_uri="/in/one.mp4"), commit_clips(1, ["c", "d"])]
    publish(tmp_path / "dataset", commits, {"run": 1}, ALL_TRAIN)
    return LocalFolder(tmp_path / "dataset")


def keys(dataset: LocalFolder, version: int | None = None) -> list[str]:
    return strings(open_dataset(dataset, version).rows, "key")


@pytest.mark.parametrize("name", ["one", "/in/one.mp4"])
def test_a_source_goes_with_all_its_samples(dataset: LocalFolder, name: str):
    manifest = withdraw(dataset, sources=[name], reason="asked to", by="legal", date="2026-11-22")
    assert keys(dataset) == ["c", "d"]
    assert manifest.withdrawn == (Withdrawal(reason="asked to", by="legal", date="2026-11-22", sources=("one",)),)
    assert keys(dataset, 1) == ["a", "b", "c", "d"]  # a version never changes
    assert verify(dataset) == []


def test_single_samples_go_by_key(dataset: LocalFolder):
    withdraw(dataset, keys=["d", "a"], reason="faces")
    manifest = withdraw(dataset, keys=["a", "b"], reason="more")
    assert keys(dataset) == ["c"]
    assert [item.keys for item in manifest.withdrawn] == [("a", "d"), ("b",)]
    assert withdraw(dataset, keys=["a"], reason="again") == manifest  # nothing new


def test_publishing_the_same_commits_again_does_not_bring_them_back(dataset: LocalFolder, commit_clips: CommitClips):
    second = withdraw(dataset, sources=["one"], keys=["c"], reason="asked to")
    commits = list_commits(dataset)
    assert publish(dataset, commits, {"run": 1}, ALL_TRAIN) == second
    publish(dataset, commits, {"run": 2}, ALL_TRAIN, keep_keys={"a", "c", "d"})
    assert keys(dataset) == ["d"]
    append(dataset, [commit_clips(7, ["e"], video_id="one"), commit_clips(8, ["f"])])  # another clip of the source
    assert keys(dataset) == ["d", "f"]


def test_what_is_lifted_may_be_published_again(dataset: LocalFolder):
    withdraw(dataset, sources=["one"], keys=["c"], reason="a mistake")
    manifest = lift(dataset, sources=["/in/one.mp4"])
    assert keys(dataset) == ["d"]
    assert [(item.sources, item.keys) for item in manifest.withdrawn] == [((), ("c",))]
    publish(dataset, list_commits(dataset), {"run": 1}, ALL_TRAIN)
    assert keys(dataset) == ["a", "b", "d"]
    lift(dataset, keys=["c"])
    assert (
        publish(dataset, list_commits(dataset), {"run": 1}, ALL_TRAIN).content() == read_manifest(dataset, 1).content()
    )


def test_a_withdrawal_takes_nothing_from_the_clock(dataset: LocalFolder):
    manifest = withdraw(dataset, keys=["a"], reason="asked to")
    assert manifest.withdrawn[0].model_dump(exclude_none=True) == {
        "reason": "asked to", "sources": (), "keys": ("a",)
    }  # fmt: skip


def test_what_may_come_can_be_kept_out(dataset: LocalFolder, commit_clips: CommitClips):
    with pytest.raises(ConfigError, match=r"source is 'two' \(1 such\); no shard .* give --unseen"):
        withdraw(dataset, sources=["two"], reason="known to be bad")
    withdraw(dataset, sources=["two"], reason="known to be bad", unseen=True)
    append(dataset, [commit_clips(7, ["e"], video_id="two"), commit_clips(8, ["f"])])
    assert keys(dataset) == ["a", "b", "c", "d", "f"]


def test_requests_that_make_no_sense_are_refused(dataset: LocalFolder, tmp_path: Path):
    with pytest.raises(ConfigError, match="0 sources and 0 keys"):
        withdraw(dataset, reason="none")
    with pytest.raises(ConfigError, match="no published version"):
        withdraw(tmp_path / "nothing", keys=["a"], reason="none")
    with pytest.raises(ConfigError, match=r"date is 'today'; YYYY-MM-DD is allowed"):
        withdraw(dataset, keys=["a"], reason="none", date="today")
    with pytest.raises(ConfigError, match=r"names to lift are \['a'\]"):
        lift(dataset, keys=["a"])
    with pytest.raises(ContractError, match=r"0 samples; an empty version is not published; .* withdraw less"):
        withdraw(dataset, keys=["a", "b", "c", "d"], reason="all")
    assert versions(dataset) == [1]


def test_a_version_that_publishes_withdrawn_samples_is_found(dataset: LocalFolder, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("shards.versions.plan_index.is_withdrawn", lambda index, _: [False] * len(index))
    manifest: Manifest = withdraw(dataset, keys=["a"], reason="asked to")
    monkeypatch.undo()
    assert [(problem.code, problem.path) for problem in verify(dataset)] == [("withdrawn", manifest.plan_index.path)]
