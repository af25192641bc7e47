from collections.abc import Callable
from pathlib import Path

import pytest

from shards import version_views
from shards.commit import Commit, list_commits
from shards.manifest import Manifest
from shards.publish import publish
from shards.splits import SplitConfig


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
