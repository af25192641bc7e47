from collections.abc import Callable
from pathlib import Path

import pytest

from shards.errors import ConfigError
from shards.format.commit import Commit, list_commits
from shards.versions import cli_views, version_views
from shards.versions.manifest import Manifest
from shards.versions.publish import publish
from shards.versions.splits import SplitConfig


@pytest.fixture
def root(tmp_path: Path, dataset_of: Callable[..., Manifest]) -> Path:
    dataset_of(5)
    return tmp_path / "dataset"


def test_a_difference_names_a_few_samples_or_all(root: Path, commit_clips: Callable[..., Commit]):
    late = [f"late-{number}" for number in range(5)]
    publish(root, [*list_commits(root), commit_clips(9, late)], {}, SplitConfig(val=0.0))
    listing = version_views.difference(root)
    assert listing.title == "version 1 to 2: other samples"
    assert ["added", "5", "late-0, late-1, late-2, …"] in listing.rows
    assert ["num_samples", "+5", "5 to 10"] in listing.rows
    every = version_views.difference(root, 1, 2, keys=True).rows
    assert [row[2] for row in every if row[0] == "added"] == late


def test_appending_says_what_came(root: Path, commit_clips: Callable[..., Commit]):
    commit_clips(0, ["late"], plan_id="cd" * 32)
    listing = version_views.appended(root, "cd")
    assert listing.title == "version 2 is published; before it, 1"
    assert ["added", "1", "late"] in listing.rows
    assert version_views.appended(root, "cd").title == "version 2 is unchanged"
    with pytest.raises(ConfigError, match="no committed shard of plan 99"):
        version_views.appended(root, "99")


def test_withdrawing_says_where_the_bytes_are_and_compaction_takes_them_out(root: Path, tmp_path: Path):
    keys = tmp_path / "keys.txt"
    keys.write_text("clip-001\n\nclip-003\n")
    listing = version_views.withdrawal(root, "asked to", [], version_views.key_list(keys))
    assert ["removed", "2", "clip-001, clip-003"] in listing.rows
    assert listing.rows[-1][:2] == ["shards with unpublished samples", "1"]
    assert ["withdrawn", "0 sources, 2 keys: asked to"] in cli_views.show(root).rows
    listing = version_views.compaction(root)
    assert listing.title == "version 3 is published; before it, 2"
    assert {row[0] for row in listing.rows} == {"size_bytes", "shards added", "shards removed"}
    assert version_views.lifting(root, [], ["clip-001"]).title == "version 4 is published; before it, 3"
    with pytest.raises(ConfigError, match="name a text file with one key a line"):
        version_views.key_list(tmp_path)


def test_collecting_says_what_would_go_and_what_stays(root: Path):
    version_views.withdrawal(root, "asked to", [], ["clip-001"])
    version_views.compaction(root)
    listing = version_views.collection(root, "0s", keep_versions=1)
    assert "would go; --delete removes them" in listing.title
    assert [row[0] for row in listing.rows].count("manifest") == 2
    assert ["withdrawn samples", "", "still published by v1; --keep-versions drops old versions"] in (
        version_views.collection(root, "0s").rows
    )
    assert version_views.collection(root, "7d", keep_versions=1, delete=True).title.startswith(f"{root}: 0 objects")


def test_an_export_names_its_tars(root: Path, tmp_path: Path):
    listing = version_views.exported(root, tmp_path / "out")
    assert listing.title == f"version 1 is exported to {tmp_path / 'out'}"
    [[split, clips, pattern]] = listing.rows
    assert (split, clips) == ("train", "5")
    assert len(list((tmp_path / "out").glob(pattern))) == 1
