"""Pushing, against a fake of the Hub (see fake_hub.py)."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shards.errors import ConfigError, StoreError
from shards.format.commit import Commit
from shards.reading.reader import open_dataset
from shards.schema import strings
from shards.storage.store import LocalFolder
from shards.versions.hub import push
from shards.versions.publish import publish
from shards.versions.splits import SplitConfig
from shards.versions.verify import verify
from shards.versions.withdraw import withdraw
from tests.shards.fake_hub import FakeHub, running_hub

REPO = "someone/clips"
pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed; pip install reelmill[hub]")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)  # files go by LFS over plain HTTP
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_PROGRESS_BARS", True)
    with running_hub() as fake:
        yield fake


@pytest.fixture
def dataset(tmp_path: Path, commit_clips: Callable[..., Commit]) -> LocalFolder:
    commits = [commit_clips(shard, [f"clip-{shard}-{number}" for number in range(4)]) for shard in range(2)]
    publish(tmp_path / "dataset", commits, {}, SplitConfig(val=0.4))
    return LocalFolder(tmp_path / "dataset")


def cloned(hub: FakeHub, folder: Path, number: int = -1) -> Path:
    """The files of a commit of the repository."""
    for path, data in hub.commits[REPO][number][1].items():
        if path != ".gitattributes":
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
    return folder


def test_a_pushed_version_can_be_cloned_and_opened(hub: FakeHub, dataset: LocalFolder, tmp_path: Path):
    pushed = push(dataset, REPO, create=True, endpoint=hub.endpoint)
    clone = cloned(hub, tmp_path / "clone")
    assert verify(clone, frames=True) == []
    opened = open_dataset(clone, pushed.version, pushed.manifest_sha256)
    assert set(strings(opened.rows, "key")) == set(strings(open_dataset(dataset).rows, "key"))
    assert pushed.commit == hub.head(REPO)[0]
    assert pushed.num_files == len(hub.head(REPO)[1]) - 1
    assert set(hub.head(REPO)[1]) >= {"README.md", "LATEST", "manifests/v000001.json"}


def test_the_manifest_comes_last(hub: FakeHub, dataset: LocalFolder):
    push(dataset, REPO, create=True, endpoint=hub.endpoint)
    _, data, last = (set(files) for _, files in hub.commits[REPO])
    assert last - data == {"README.md", "LATEST", "manifests/v000001.json"}


def test_pushing_again_sends_nothing(hub: FakeHub, dataset: LocalFolder):
    first = push(dataset, REPO, create=True, endpoint=hub.endpoint)
    sent, num_commits = len(hub.uploads), len(hub.commits[REPO])
    assert push(dataset, REPO, create=True, endpoint=hub.endpoint) == first
    assert (len(hub.uploads), len(hub.commits[REPO])) == (sent, num_commits)


def test_a_new_version_replaces_the_old_one_at_once(hub: FakeHub, dataset: LocalFolder, tmp_path: Path):
    push(dataset, REPO, create=True, endpoint=hub.endpoint)
    hub.add_commit(REPO, hub.head(REPO)[1] | {"NOTES.md": b"mine"})
    withdraw(dataset, keys=["clip-1-2"], reason="asked to")
    pushed = push(dataset, REPO, endpoint=hub.endpoint)
    clone = cloned(hub, tmp_path / "clone")
    assert [(problem.code, problem.path) for problem in verify(clone)] == [("foreign", "NOTES.md")]
    assert "manifests/v000001.json" in pushed.removed
    assert all(re.search(rb"caption of clip-1-2\b", data) is None for data in hub.head(REPO)[1].values())
    between = cloned(hub, tmp_path / "between", number=-2)  # shards are there, the card still names the old version
    assert open_dataset(between).manifest.version == 1
    assert {problem.code for problem in verify(between)} <= {"orphan", "foreign"}


def test_a_push_that_broke_off_is_continued(hub: FakeHub, dataset: LocalFolder, tmp_path: Path):
    hub.make(REPO)
    hub.fail_commit = 2
    with pytest.raises(StoreError, match=r"pushing to someone/clips failed; .* push again: what is there"):
        push(dataset, REPO, endpoint=hub.endpoint)
    sent = len(hub.uploads)
    push(dataset, REPO, endpoint=hub.endpoint)
    assert len(hub.uploads) == sent
    assert verify(cloned(hub, tmp_path / "clone")) == []


def test_two_who_push_at_once_do_not_mix(hub: FakeHub, dataset: LocalFolder):
    hub.make(REPO)
    hub.before_commit.append(lambda: hub.add_commit(REPO, hub.head(REPO)[1] | {"other": b""}))
    with pytest.raises(StoreError, match="changed during the push; one pushes at a time"):
        push(dataset, REPO, endpoint=hub.endpoint)
    assert "LATEST" not in hub.head(REPO)[1]


def test_a_repository_that_is_not_there_is_named(hub: FakeHub, dataset: LocalFolder):
    with pytest.raises(ConfigError, match=r"repository someone/clips is not to be found; .* give --create"):
        push(dataset, REPO, endpoint=hub.endpoint)
    with pytest.raises(ConfigError, match="owner/name is allowed"):
        push(dataset, "a/b/c", endpoint=hub.endpoint)
