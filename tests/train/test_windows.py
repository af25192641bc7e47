"""Plans of windows: every frame is made once, and nothing is given before it is made."""

import pytest
import torch

from shards.errors import ConfigError
from train.sample.windows import (
    AutoregressiveWindowConfig,
    HierarchicalWindowConfig,
    SingleWindowConfig,
    begin_with,
    merge,
    plan_windows,
)

PLANS = [
    (SingleWindowConfig(), 5, 5),
    (AutoregressiveWindowConfig(), 5, 5),
    (AutoregressiveWindowConfig(overlap=2), 33, 5),
    (HierarchicalWindowConfig(), 40, 5),
    (HierarchicalWindowConfig(num_levels=3), 1024, 5),
    (HierarchicalWindowConfig(num_levels=2, overlap=3), 1024, 8),
    (HierarchicalWindowConfig(num_levels=2), 1, 16),
]


@pytest.mark.parametrize(("config", "length", "window"), PLANS)
def test_every_frame_is_made_once_and_given_only_after(config, length, window):
    plan = plan_windows(config, length, window)
    assert plan.length >= length
    made: set[int] = set()
    for calls in plan.rounds:
        written = [index for call in calls for index in call.written]
        assert len(set(written)) == len(written)
        assert not made & set(written)
        for call in calls:  # calls of a round know nothing of each other
            assert set(call.indices) - set(call.written) <= made
            assert len(call.indices) == window
        made |= set(written)
    assert made == set(range(plan.length))


def test_autoregression_goes_on_from_the_last_frames():
    first, second, third = plan_windows(AutoregressiveWindowConfig(overlap=2), 11, 5).calls
    assert first.indices == (0, 1, 2, 3, 4)
    assert not any(first.given)
    assert second.indices == (3, 4, 5, 6, 7)
    assert second.given == (True, True, False, False, False)
    assert third.written == (8, 9, 10)


def test_key_frames_come_first_and_gaps_shrink_level_by_level():
    plan = plan_windows(HierarchicalWindowConfig(num_levels=2), 17, 5)
    keys, gap, *fine = plan.calls
    assert keys.indices == (0, 16, 32, 48, 64)
    assert (gap.stage, gap.stride, gap.indices, gap.given) == (
        1,
        4,
        (0, 4, 8, 12, 16),
        (True, False, False, False, True),
    )
    assert fine[-1].stage == 2
    assert fine[-1].indices == (60, 61, 62, 63, 64)


def test_1024_frames_from_clips_of_five_need_log_many_rounds():
    plan = plan_windows(HierarchicalWindowConfig(num_levels=3), 1024, 5)
    # stride 64: 17 key frames reach 1024; clips of 5 that share one make them in 4 calls, then 3 rounds of gaps
    assert [len(calls) for calls in plan.rounds] == [1, 1, 1, 1, 16, 64, 256]
    assert plan.length == 1025
    assert len(plan_windows(AutoregressiveWindowConfig(), 1024, 5).rounds) == 256


def test_a_video_that_begins_with_given_frames_has_them_in_its_first_call():
    plan = begin_with(plan_windows(AutoregressiveWindowConfig(), 9, 5), 2)
    assert plan.calls[0].written == (2, 3, 4)
    assert plan.calls[1].written == (5, 6, 7, 8)
    keys = plan_windows(HierarchicalWindowConfig(), 17, 5)
    assert begin_with(keys, 1).calls[0].written == (4, 8, 12, 16)
    with pytest.raises(ConfigError, match="at a distance of 4; give fewer"):
        begin_with(keys, 2)


def test_gaps_can_be_filled_by_clips_of_another_length():
    """LVDM: key frames by clips of 4 latent frames, gaps by clips of 5."""
    plan = plan_windows(HierarchicalWindowConfig(num_levels=2), 49, 4, gap_window=5)
    assert [len(calls) for calls in plan.rounds] == [1, 3, 12]
    assert plan.calls[0].indices == (0, 16, 32, 48)
    assert plan.calls[1].indices == (0, 4, 8, 12, 16)
    assert sorted(index for call in plan.calls for index in call.written) == list(range(49))


def test_merging_writes_what_was_made_and_keeps_what_was_given():
    plan = plan_windows(AutoregressiveWindowConfig(), 9, 5)
    long = torch.zeros(2, 9, 1, 1, 1)
    for number, call in enumerate(plan.calls, start=1):
        long = merge(long, [call], [torch.full((2, 5, 1, 1, 1), float(number))])
    assert long[0].flatten().tolist() == [1, 1, 1, 1, 1, 2, 2, 2, 2]


@pytest.mark.parametrize(
    ("config", "length", "window", "reason"),
    [
        (SingleWindowConfig(), 6, 5, "at most 5 are made by one call"),
        (AutoregressiveWindowConfig(overlap=5), 9, 5, "less than 5"),
        (HierarchicalWindowConfig(), 9, 2, "3 are needed"),
    ],
)
def test_what_cannot_be_planned_is_refused(config, length, window, reason):
    with pytest.raises(ConfigError, match=reason):
        plan_windows(config, length, window)
