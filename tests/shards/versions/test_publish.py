from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from shards.errors import ConfigError, ContractError
from shards.format.commit import Commit, list_commits
from shards.reading.reader import open_dataset
from shards.storage.store import LocalFolder
from shards.versions.manifest import Manifest, manifest_path, parse_manifest, read_manifest, versions
from shards.versions.plan_index import sides
from shards.versions.publish import publish
from shards.versions.splits import SplitConfig, assign_splits

CommitClips = Callable[..., Commit]
SPLITS = SplitConfig(val=0.0)


@pytest.fixture
def dataset(tmp_path: Path) -> LocalFolder:
    return LocalFolder(tmp_path / "dataset")


def test_a_version_counts_what_is_in_it(dataset: LocalFolder, commit_clips: CommitClips):
    commits = [commit_clips(0, ["a", "b"]), commit_clips(1, ["c"], video_id="one", caption=None, licence="CC0")]
    manifest = publish(dataset, commits, {"seed": 7}, SPLITS)
    stats = manifest.stats
    assert (stats.num_samples, stats.num_captions, stats.num_sources, stats.num_frames) == (3, 2, 3, 72)
    assert stats.hours == pytest.approx(3 * 3 / 3600)  # three clips of 3 s
    motion = stats.columns["motion"]  # 0, 1 in the first shard and 0 in the second
    assert (motion.num_values, motion.min, motion.max) == (3, 0, 1)
    assert motion.mean == pytest.approx(1 / 3)
    assert manifest.splits["train"].num_samples == 3
    assert manifest.config == {"seed": 7}
    assert manifest.licences == ("CC0",)
    assert {c.name: c.unit for c in manifest.columns}["motion"] == "levels/s"


def test_the_same_commits_are_the_same_version(dataset: LocalFolder, commit_clips: CommitClips):
    commits = [commit_clips(0, ["a"]), commit_clips(1, ["b"])]
    first = publish(dataset, commits, {}, SPLITS)
    assert publish(dataset, commits[::-1], {}, SPLITS) == first
    assert versions(dataset) == [1]


def test_more_commits_are_the_next_version_with_a_parent(dataset: LocalFolder, commit_clips: CommitClips):
    first = publish(dataset, [commit_clips(0, ["a"])], {}, SPLITS)
    second = publish(dataset, [commit_clips(0, ["a"]), commit_clips(1, ["b"])], {}, SPLITS)
    assert second.version == 2
    assert second.parent is not None
    assert (second.parent.version, second.parent.sha256) == (1, first.sha256())
    assert dataset.get("LATEST").decode() == f"v000002 {second.sha256()}\n"
    assert read_manifest(dataset, 1) == first
    assert read_manifest(dataset) == second


def test_tighter_rules_publish_fewer_samples_of_the_same_shards(dataset: LocalFolder, commit_clips: CommitClips):
    commits = [commit_clips(0, ["a", "b", "c"])]
    publish(dataset, commits, {}, SPLITS)
    second = publish(dataset, commits, {}, SPLITS, keep_keys={"a", "c"})
    assert second.stats.num_samples == 2
    opened = open_dataset(dataset)
    assert opened.rows.column("key").to_pylist() == ["a", "c"]
    assert opened.rows.column("id").to_pylist() == [0, 1]
    assert b"caption of c" in opened.read(1)["json"]


def test_nothing_is_no_version(dataset: LocalFolder, commit_clips: CommitClips):
    with pytest.raises(ContractError, match="has no commits to publish"):
        publish(dataset, [], {}, SPLITS)
    with pytest.raises(ContractError, match="has 0 samples; an empty version is not published"):
        publish(dataset, [commit_clips(0, ["a"])], {}, SPLITS, keep_keys=set())
    assert versions(dataset) == []


def test_a_key_is_published_once(dataset: LocalFolder, commit_clips: CommitClips):
    with pytest.raises(ContractError, match="2 samples have 1 keys"):
        publish(dataset, [commit_clips(0, ["a"]), commit_clips(1, ["a"])], {}, SPLITS)


def test_two_publishers_get_two_versions_and_none_is_lost(dataset: LocalFolder, commit_clips: CommitClips):
    commits = [commit_clips(number, [f"clip-{number}"]) for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        published = list(pool.map(lambda commit: publish(dataset, [commit], {}, SPLITS), commits))
    assert sorted(manifest.version for manifest in published) == [1, 2, 3, 4]
    assert all(read_manifest(dataset, manifest.version) == manifest for manifest in published)


def test_a_publisher_killed_before_its_manifest_is_in_nobodys_way(dataset: LocalFolder, commit_clips: CommitClips):
    commits = [commit_clips(0, ["a"]), commit_clips(1, ["b"])]
    publish(dataset, commits, {}, SPLITS)
    for path in (manifest_path(1), "LATEST", "README.md"):
        dataset.local_path(path).unlink()
    assert publish(dataset, commits[:1], {}, SPLITS).version == 1
    assert publish(dataset, commits, {}, SPLITS).version == 2


def test_an_index_that_was_changed_is_not_published(dataset: LocalFolder, commit_clips: CommitClips):
    commit = commit_clips(0, ["a"])
    other = commit_clips(1, ["b"])
    path = dataset.local_path(commit.index.path)
    path.unlink()
    path.write_bytes(dataset.get(other.index.path))
    with pytest.raises(ContractError, match="has another sha256 than its commit says"):
        publish(dataset, [commit], {}, SPLITS)


def test_duplicates_share_a_split(dataset: LocalFolder, commit_clips: CommitClips):
    commits = [
        commit_clips(0, [f"a{n}" for n in range(9)], dup_group="same"),
        commit_clips(1, [f"b{n}" for n in range(9)]),
    ]
    manifest = publish(dataset, commits, {}, SplitConfig(val=0.4, test=0.3))
    table = open_dataset(dataset).rows
    sides = {row["split"] for row in table.select(["dup_group", "split"]).to_pylist() if row["dup_group"]}
    assert len(sides) == 1
    assert sum(stats.num_samples for stats in manifest.splits.values()) == 18


def test_the_card_has_front_matter_and_the_manifests_counts(dataset: LocalFolder, commit_clips: CommitClips):
    publish(dataset, [commit_clips(0, ["a", "b"], licence="<b>mine|*")], {}, SPLITS)
    card = dataset.get("README.md").decode()
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["task_categories"] == ["text-to-video"]
    assert front["configs"][0]["data_files"] == [{"split": "train", "path": "shards/*/*.tar"}]
    assert "2 clips, 0.002 hours, 48 frames, 2 captions, from 2 sources" in card
    assert "<b>" not in card


def test_a_manifest_that_was_edited_is_refused(dataset: LocalFolder, dataset_of: Callable[..., Manifest]):
    manifest = dataset_of(3)
    data = manifest.to_bytes()
    assert parse_manifest(data, "m") == manifest
    for broken in (
        data.replace(b'"num_samples": 3', b'"num_samples": "3"', 1),
        data[:-5],
        data.replace(b"\n ", b"\n  "),
    ):
        with pytest.raises(ContractError, match="restore it"):
            parse_manifest(broken, "m")


def test_a_version_that_is_not_there_names_those_that_are(dataset: LocalFolder, dataset_of: Callable[..., Manifest]):
    with pytest.raises(ConfigError, match="no published version"):
        read_manifest(dataset)
    dataset_of(2)
    with pytest.raises(ConfigError, match=r"version is 9; .* has 1; name one of them"):
        read_manifest(dataset, 9)


def test_all_commits_of_a_dataset_can_be_published_again(dataset: LocalFolder, dataset_of: Callable[..., Manifest]):
    manifest = dataset_of(7, per_shard=3)
    assert publish(dataset, list_commits(dataset), {"made_by": "test"}, SPLITS) == manifest


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from([None, "x", "y", "z"])), min_size=1))
def testsides_found_by_source_are_those_found_by_row(rows: list[tuple[str, str | None]]):
    videos, groups = [row[0] for row in rows], [row[1] for row in rows]
    table = pa.table({"video_id": pa.array(videos, pa.string()), "dup_group": pa.array(groups, pa.string())})
    config = SplitConfig(val=0.3, test=0.3)
    assert sides(table, config).to_pylist() == assign_splits(videos, groups, config)
