from collections.abc import Callable
from pathlib import Path

import pytest

from shards.errors import ConfigError
from shards.format.commit import Commit
from shards.versions import cli_views
from shards.versions.manifest import Manifest
from shards.versions.splits import SplitConfig


@pytest.fixture
def root(tmp_path: Path, dataset_of: Callable[..., Manifest]) -> Path:
    dataset_of(5)
    return tmp_path / "dataset"


def test_ls_lists_versions(root: Path, commit_clips: Callable[..., Commit]):
    commit_clips(9, ["late"])
    assert cli_views.publication(root).title == "version 2 is published"
    rows = [dict(zip(cli_views.ls(root).columns, row, strict=True)) for row in cli_views.ls(root).rows]
    assert [(row["version"], row["clips"], row["shards"]) for row in rows] == [("v1", "5", "1"), ("v2", "6", "2")]


def test_show_tells_a_version_and_a_sample(root: Path):
    facts = dict(cli_views.show(root).rows)
    assert facts["clips"] == "5"
    assert facts["column motion"] == "0 to 4, mean 2, 5 values"
    sample = dict(cli_views.show(root, key="clip-003").rows)
    assert sample["caption"] == "caption of clip-003"


def test_verification_fails_with_what_is_wrong(root: Path):
    assert not cli_views.verification(root).failed
    (root / "stray").touch()
    listing = cli_views.verification(root)
    assert listing.failed
    assert listing.rows[0][:2] == ["foreign", "stray"]


def test_publishing_again_changes_nothing_and_other_splits_do(root: Path):
    assert cli_views.publication(root).title == "version 1 is unchanged"
    assert cli_views.publication(root, splits=SplitConfig(val=0.5)).title == "version 2 is published"


def test_publishing_names_the_plans_to_choose_from(root: Path, tmp_path: Path, commit_clips: Callable[..., Commit]):
    commit_clips(0, ["other"], plan_id="cd" * 32)
    with pytest.raises(ConfigError, match="name one of them"):
        cli_views.publication(root)
    with pytest.raises(ConfigError, match="no committed shard"):
        cli_views.publication(tmp_path / "empty")
