import pytest

from curate.clips.copy import plan_copy
from curate.clips.mp4_edit import Edit
from curate.clips.packets import CopyRefused, Mark


def marks(*pts: int, keys: tuple[int, ...] = (0,), hidden: tuple[int, ...] = ()) -> list[Mark]:
    return [Mark(one, 1, one in keys, one in hidden) for one in pts]


def test_reordered_frames_get_decode_times_that_are_never_late():
    plan = plan_copy(marks(0, 3, 1, 2, 6, 4, 5), 0, 7, num=1, max_preroll=1)
    assert plan.dts_P == [0, 1, 2, 3, 4, 5, 6]
    assert plan.pts_P == [1, 4, 2, 3, 7, 5, 6]  # one tick later, so that frame 1, decoded third, is in time
    assert plan.edit == Edit(media_time=1, duration=7)
    assert plan.frame_pts == [0, 1, 2, 3, 4, 5, 6]
    assert plan.preroll_frames == 0


def test_the_edit_begins_at_the_first_planned_frame_and_hides_what_is_decoded_only():
    plan = plan_copy(marks(0, 3, 1, 2, 6, 4, 5), 2, 6, num=1, max_preroll=1)
    assert plan.edit == Edit(media_time=3, duration=4)
    assert plan.frame_pts == [0, 1, 2, 3]
    assert plan.preroll_frames == 2
    assert len(plan.pts_P) == 7  # frame 6 is after the span, but frame 4 refers to it


def test_leading_pictures_of_an_open_group_count_as_preroll():
    plan = plan_copy(marks(10, 8, 9, 13, 11, 12, keys=(10,)), 10, 14, num=1, max_preroll=1)
    assert plan.preroll_frames == 2
    assert plan.edit.media_time == plan.pts_P[0]


def test_only_a_key_packet_that_no_leading_picture_follows_is_a_place_to_seek_to():
    plan = plan_copy(marks(0, 1, 4, 2, 3, 5, 6, keys=(0, 4, 5)), 0, 7, num=1, max_preroll=1)
    assert plan.is_sync_P == [True, False, False, False, False, True, False]  # 2 and 3 refer to what lies before 4


def test_a_clip_begins_at_a_place_to_seek_to_even_if_leading_pictures_follow():
    plan = plan_copy(marks(10, 8, 9, 13, 11, 12, keys=(10,)), 10, 14, num=1, max_preroll=1)
    assert plan.is_sync_P == [True, False, False, False, False, False]


def test_a_time_base_of_1001_30000_gives_ticks_of_1_30000():
    plan = plan_copy(marks(4, 5, 6, keys=(4,)), 5, 7, num=1001, max_preroll=1)
    assert plan.dts_P == [0, 1001, 2002]
    assert plan.frame_pts == [0, 1001]
    assert plan.edit == Edit(1001, 2002)


def test_a_variable_rate_keeps_its_distances():
    plan = plan_copy(marks(0, 7, 8, 30, keys=(0,)), 0, 31, num=1, max_preroll=0)
    assert plan.frame_pts == [0, 7, 8, 30]


@pytest.mark.parametrize(
    ("packets", "max_preroll", "code"),
    [
        (marks(0, 1, 2, 3, 4, 5), 1.0, "preroll"),  # 4 hidden for 2 shown
        (marks(3, 4, 4, 5, keys=(3,)), 1.0, "no_pts"),
        (marks(3, 4, 5, keys=(3,), hidden=(4,)), 1.0, "source_edit"),
    ],
)
def test_what_cannot_be_copied_exactly_is_refused_with_a_code(packets, max_preroll, code):
    with pytest.raises(CopyRefused) as refusal:
        plan_copy(packets, 4, 6, num=1, max_preroll=max_preroll)
    assert refusal.value.code == code


def test_packets_that_the_source_hides_before_the_span_may_stay_hidden():
    plan = plan_copy(marks(3, 4, 5, keys=(3,), hidden=(3,)), 4, 6, num=1, max_preroll=1)
    assert plan.preroll_frames == 1
