from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards.config import parse_config
from shards.errors import ConfigError
from shards.versions.splits import SplitConfig, assign_splits

SAMPLES = st.lists(
    st.tuples(st.sampled_from("abcdefghij"), st.one_of(st.none(), st.sampled_from("uvwxyz"))), max_size=40
)
CONFIG = SplitConfig(val=0.3, test=0.3)


@given(SAMPLES, st.integers(0, 99))
def test_no_source_and_no_duplicate_group_lies_on_two_sides(samples: list[tuple[str, str | None]], seed: int):
    sides = assign_splits([v for v, _ in samples], [g for _, g in samples], CONFIG.model_copy(update={"seed": seed}))
    by_source, by_group = defaultdict(set), defaultdict(set)
    for (video_id, group), side in zip(samples, sides, strict=True):
        by_source[video_id].add(side)
        if group is not None:
            by_group[group].add(side)
    assert all(len(found) == 1 for found in (*by_source.values(), *by_group.values()))


@given(SAMPLES.filter(bool), st.integers(0, 99))
def test_train_is_never_empty(samples: list[tuple[str, str | None]], seed: int):
    config = SplitConfig(val=0.6, test=0.35, seed=seed)
    assert "train" in assign_splits([v for v, _ in samples], [g for _, g in samples], config)


def test_order_does_not_matter_and_new_sources_move_no_old_one():
    videos = [f"video-{number}" for number in range(200)]
    sides = dict(zip(videos, assign_splits(videos, [None] * 200, CONFIG), strict=True))
    backwards = videos[::-1] + [f"new-{number}" for number in range(50)]
    later = dict(zip(backwards, assign_splits(backwards, [None] * 250, CONFIG), strict=True))
    assert sides == {video: later[video] for video in videos}


@given(SAMPLES, SAMPLES, st.integers(0, 99))
def test_appended_sources_move_no_old_one_unless_a_duplicate_joins_them(
    old: list[tuple[str, str | None]], new: list[tuple[str, str | None]], seed: int
):
    """Old samples beside one source that is surely in train, so that the rule against an empty train is not met."""
    config = CONFIG.model_copy(update={"seed": seed})
    names = [str(number) for number in range(99)]
    always = names[assign_splits(names, [None] * 99, config).index("train")]
    old = [(f"old-{video}", group) for video, group in old] + [(always, None)]
    new = [(f"new-{video}", None if group is None else f"new-{group}") for video, group in new]
    before = assign_splits(*zip(*old, strict=True), config)  # type: ignore[arg-type]
    after = assign_splits(*zip(*new, *old, strict=True), config)  # type: ignore[arg-type]
    assert after[len(new) :] == before


def test_shares_are_about_those_of_the_config():
    videos = [f"video-{number}" for number in range(4000)]
    sides = assign_splits(videos, [None] * 4000, SplitConfig(val=0.1, test=0.2))
    assert sides.count("val") == pytest.approx(400, abs=60)  # three standard deviations of a binomial: 57
    assert sides.count("test") == pytest.approx(800, abs=76)


def test_another_seed_is_another_division():
    videos = [f"video-{number}" for number in range(50)]
    assert assign_splits(videos, [None] * 50, CONFIG) != assign_splits(
        videos, [None] * 50, SplitConfig(val=0.3, test=0.3, seed=1)
    )


def test_shares_that_leave_nothing_to_train_are_refused():
    with pytest.raises(ConfigError, match=r"val \+ test is 1\.0"):
        parse_config(SplitConfig, {"val": 0.5, "test": 0.5})
