import time
from collections.abc import Callable
from pathlib import Path

import obstore.store
import pytest

import shards.versions.collect
from shards.errors import ConfigError, ContractError
from shards.format.commit import Commit
from shards.reading.reader import open_dataset
from shards.schema import strings
from shards.storage.store import LocalFolder, ObjectStore
from shards.versions.append import append
from shards.versions.collect import Collection, collect, parse_duration_s
from shards.versions.compact import compact
from shards.versions.manifest import Manifest, manifest_path, versions
from shards.versions.publish import publish
from shards.versions.splits import SplitConfig
from shards.versions.verify import verify
from shards.versions.withdraw import withdraw

CommitClips = Callable[..., Commit]
ALL_TRAIN = SplitConfig(val=0.0)
DAY_S = 86400.0


@pytest.fixture
def dataset(tmp_path: Path, commit_clips: CommitClips) -> LocalFolder:
    """Version 1 of two shards; version 2 withdraws `a`; version 3 is compact."""
    publish(tmp_path / "dataset", [commit_clips(0, ["a", "b"]), commit_clips(1, ["c"])], {}, ALL_TRAIN)
    store = LocalFolder(tmp_path / "dataset")
    withdraw(store, keys=["a"], reason="asked to")
    compact(store, tmp_path)
    return store


def a_week_later(dataset: LocalFolder, *, keep_versions: int | None = None, delete: bool = False) -> Collection:
    return collect(
        dataset, grace_s=7 * DAY_S, keep_versions=keep_versions, delete=delete, now_s=time.time() + 7 * DAY_S + 60
    )


def paths(dataset: LocalFolder) -> set[str]:
    return {item.path for item in dataset.list()}


def test_nothing_that_a_version_names_goes(dataset: LocalFolder):
    found = a_week_later(dataset)
    assert found.garbage == []
    assert found.withdrawn_in == [1]


def test_the_bytes_of_withdrawn_samples_go_with_the_versions_that_publish_them(dataset: LocalFolder):
    before = paths(dataset)
    planned = a_week_later(dataset, keep_versions=1)
    assert paths(dataset) == before  # a dry run
    removed = a_week_later(dataset, keep_versions=1, delete=True)
    assert removed.garbage == planned.garbage
    plan = "ab" * 4
    assert [item.path for item in removed.garbage if item.kind != "plan_index"] == [
        manifest_path(1),
        manifest_path(2),
        f"commits/{plan}/000000.json",
        f"index/toy/{plan}-000000.parquet",
        f"shards/toy/{plan}-000000.tar",
    ]
    assert before - paths(dataset) == {item.path for item in removed.garbage}
    assert all(b"caption of a" not in dataset.get(path) for path in paths(dataset))
    assert sorted(strings(open_dataset(dataset).rows, "key")) == ["b", "c"]
    assert (versions(dataset), removed.withdrawn_in) == ([3], [])
    assert verify(dataset, frames=True) == []
    assert a_week_later(dataset, keep_versions=1, delete=True).garbage == []


def test_tombstones_outlive_the_versions_that_made_them(
    dataset: LocalFolder, tmp_path: Path, commit_clips: CommitClips
):
    a_week_later(dataset, keep_versions=1, delete=True)
    again = commit_clips(0, ["a", "b"])  # a rerun of the same plan
    publish(dataset, [again], {}, ALL_TRAIN)
    assert strings(open_dataset(dataset).rows, "key") == ["b"]


def test_young_objects_stay(dataset: LocalFolder, commit_clips: CommitClips):
    commit = commit_clips(5, ["not-published-yet"])
    found = collect(dataset, grace_s=DAY_S, keep_versions=1, delete=True)
    assert found.garbage == []
    assert commit.shard.path in {item.path for item in found.too_young}
    assert versions(dataset) == [1, 2, 3]


def test_shards_that_nobody_published_go_with_their_records(dataset: LocalFolder, commit_clips: CommitClips):
    commit = commit_clips(5, ["abandoned"])
    killed = dataset.local_path(f"shards/toy/.{'ab' * 4}-000006.tar.{'0' * 32}.tmp")
    killed.write_bytes(b"half")
    removed = a_week_later(dataset, delete=True)
    assert [item.kind for item in removed.garbage] == ["commit", "index", "shard", "temporary"]
    assert commit.shard.path not in paths(dataset)
    assert not killed.exists()
    assert verify(dataset) == []


def test_foreign_files_are_never_touched(dataset: LocalFolder):
    foreign = [
        "notes.txt",
        "shards/toy/mine.tar",
        "index/a.parquet",
        "manifests/v1.json",
        ".hidden",
        "shards/toy/.x.tmp",
    ]
    for name in foreign:
        dataset.local_path(name).write_text("mine")
    a_week_later(dataset, keep_versions=1, delete=True)
    assert all(dataset.local_path(name).read_text() == "mine" for name in foreign)


def test_old_shards_that_are_published_meanwhile_stay(
    dataset: LocalFolder, commit_clips: CommitClips, monkeypatch: pytest.MonkeyPatch
):
    """The publisher is as fast as can be: it comes when the collection has decided and removes its first object."""
    commit = commit_clips(5, ["late"])
    started_s = time.time() + 0.05  # the filesystem's clock is coarse
    time.sleep(0.1)
    remove, published = shards.versions.collect.remove_if_older, []

    def publish_first(store: LocalFolder, path: str, before_s: float) -> bool:
        if not published:
            published.append(append(store, [commit]))
        return remove(store, path, before_s)

    monkeypatch.setattr("shards.versions.collect.remove_if_older", publish_first)
    found = collect(dataset, grace_s=0, delete=True, now_s=started_s)
    assert published[0].version == 4
    assert [item.kind for item in found.garbage] == ["commit"]  # it had gone for the shard was nobody's
    assert {commit.shard.path, commit.index.path} <= {item.path for item in found.too_young}
    monkeypatch.undo()
    assert verify(dataset) == []


def test_an_interrupted_collection_leaves_a_sound_dataset(dataset: LocalFolder, monkeypatch: pytest.MonkeyPatch):
    """Killed after every single removal, and begun again."""
    remove, left = shards.versions.collect.remove_if_older, [0]

    class Killed(BaseException):
        pass

    def killed_after_one(store: LocalFolder, path: str, before_s: float) -> bool:
        if not left[0]:
            raise Killed
        left[0] -= 1
        return remove(store, path, before_s)

    monkeypatch.setattr("shards.versions.collect.remove_if_older", killed_after_one)
    num_objects = len(a_week_later(dataset, keep_versions=1).garbage)
    assert num_objects == 7  # two manifests, two plan indexes, a record, an index, a tar
    for _ in range(num_objects - 1):
        left[0] = 1
        with pytest.raises(Killed):
            a_week_later(dataset, keep_versions=1, delete=True)
        assert {problem.code for problem in verify(dataset, deep=False)} <= {"orphan"}
    left[0] = 1
    a_week_later(dataset, keep_versions=1, delete=True)
    assert verify(dataset) == []


def test_a_damaged_manifest_stops_it(dataset: LocalFolder):
    path = dataset.local_path(manifest_path(2))
    path.unlink()
    path.write_bytes(b"{}")
    before = paths(dataset)
    with pytest.raises(ContractError, match="is no manifest"):
        a_week_later(dataset, delete=True)
    assert paths(dataset) == before


def test_arguments_that_make_no_sense_are_refused(dataset: LocalFolder, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"at least 0 and 1 are allowed"):
        collect(dataset, grace_s=0, keep_versions=0)
    with pytest.raises(ConfigError, match="no published version; collecting would remove all"):
        collect(tmp_path / "nothing", grace_s=0)
    with pytest.raises(ConfigError, match="duration is 'a week'; a whole number"):
        parse_duration_s("a week")


@pytest.mark.parametrize(("text", "seconds"), [("7d", 604800), ("12h", 43200), ("30m", 1800), ("0s", 0)])
def test_durations_are_read(text: str, seconds: int):
    assert parse_duration_s(text) == seconds


def test_an_object_store_is_collected_by_age_too(
    tmp_path: Path, dataset_of: Callable[..., Manifest], commit_clips: CommitClips
):
    """obstore's store of a folder stands for a remote one: same calls, ages by modification."""
    dataset_of(2)
    commit = commit_clips(9, ["abandoned"])
    store = ObjectStore(obstore.store.LocalStore(tmp_path / "dataset"), "remote")
    found = collect(store, grace_s=DAY_S, delete=True, now_s=time.time() + DAY_S + 60)
    assert commit.shard.path in {item.path for item in found.garbage}
    assert verify(tmp_path / "dataset") == []
