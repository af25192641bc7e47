import re
from collections.abc import Callable
from pathlib import Path

import pytest

from shards.errors import ConfigError
from shards.format.commit import Commit
from shards.reading.plan_view import plan_listings
from shards.versions.manifest import Manifest
from shards.versions.publish import publish
from shards.versions.splits import SplitConfig

VIEW = ("plan.global_batch=2", "view.num_frames=8")


@pytest.fixture
def root(tmp_path: Path, dataset_of: Callable[..., Manifest]) -> Path:
    """Nine clips of 24 frames (3 s) in three shards, copied with a preroll of 6 frames."""
    dataset_of(9, per_shard=4, cut_mode="copy", preroll_frames=6)
    return tmp_path / "dataset"


def facts(root: Path, *overrides: str) -> dict[str, str]:
    return {what: value for what, value in plan_listings(root, None, [*VIEW, *overrides])[1].rows}


def test_an_epoch_is_told_before_anything_is_decoded(root: Path):
    found = facts(root)
    assert found["steps per epoch"] == "4"
    assert found["clips"] == "9 of 9 can be shown; an epoch shows 8"
    assert found["mixing"].startswith("1.00: ")
    assert found["cache need"].startswith("3 shards at once")
    assert found["preroll"].startswith("20.0%")  # 6 of 30 frames
    assert found["decoded per frame"] == "1.250 of copied clips (9)"


def test_conditions_decide_who_takes_part(root: Path):
    found = facts(root, "plan.where='motion >= 2'")
    assert found["clips"] == "4 of 9 can be shown; an epoch shows 4"
    assert found["left after"] == "9 rows, 9 in split train, 9 with a caption, 4 where plan.where is true"
    with pytest.raises(ConfigError, match=r"did you mean motion\?"):
        facts(root, "plan.where='motoin >= 2'")


def test_blocks_need_fewer_shards(root: Path):
    found = facts(root, "plan.shuffle=blocks", "plan.block_shards=1")
    assert found["cache need"].startswith("2 shards at once")  # a batch of two over the end of a shard of one


def test_buckets_are_listed_with_those_that_are_empty(root: Path):
    shapes = "view.shapes=[8x32x32, 16x32x32, 64x32x32]"
    listing = plan_listings(root, None, ["plan.bucket_by=tokens", "plan.tokens_per_batch=64", shapes])[0]
    assert listing.title == "3 buckets, 2 of them empty: 64x32x32, 8x32x32"
    assert listing.rows == [
        ["16x32x32", "9", "4", "64", "2", "100.0%"],  # 4 * 2 * 2 tokens a clip
        ["64x32x32", "0", "1", "64", "0", "0.0%"],
        ["8x32x32", "0", "8", "64", "0", "0.0%"],
    ]


def test_a_mixture_is_planned_like_a_dataset(root: Path):
    mix = f"mix=[{{uri: {root}, weight: 1}}, {{uri: {root}, weight: 1}}]"
    found = dict(plan_listings(None, None, [*VIEW, mix])[1].rows)
    assert found["clips"] == "18 of 18 can be shown; an epoch shows 18"
    assert found["cache need"].startswith("6 shards at once")
    with pytest.raises(ConfigError, match="a folder or a mixture is allowed"):
        plan_listings(root, None, [mix])


def test_unknown_keys_are_refused(root: Path):
    with pytest.raises(ConfigError, match=r"view\.fsp is not a known key; did you mean fps\?"):
        plan_listings(root, None, ["view.fsp=8"])


def test_the_cost_of_copied_and_encoded_clips_is_measured_on_request(
    tmp_path: Path, mp4: bytes, commit_clips: Callable[..., Commit]
):
    commits = [commit_clips(0, ["a", "b", "c"], cut_mode="copy"), commit_clips(1, ["d", "e"], cut_mode="encode")]
    publish(tmp_path / "dataset", commits, {}, SplitConfig(val=0))
    _, epoch = plan_listings(tmp_path / "dataset", None, ["plan.global_batch=2"], measure=2)
    told = dict(epoch.rows)["measured decode"]
    found = re.fullmatch(
        r"([0-9.]+) ms of CPU for each copied clip \(2 clips, in the child\); "
        r"([0-9.]+) ms of CPU for each encoded clip \(2 clips, in process\)",
        told,
    )
    assert found is not None, told
    assert all(float(ms) > 0 for ms in found.groups())
    assert "measured decode" not in dict(plan_listings(tmp_path / "dataset", None, ["plan.global_batch=2"])[1].rows)
