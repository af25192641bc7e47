from dataclasses import replace

import pytest

from curate.clips.verify import CutNotExact, Presented, check_presented

CLIP = Presented(
    frame_pts=[0, 40, 80],
    time_base_num=1,
    time_base_den=1000,
    decoded_frames=5,
    preroll_frames=2,
    corrupt_frames=0,
    width=160,
    height=90,
    rotation_deg=0,
    sar_num=1,
    sar_den=1,
    pix_fmt="yuv420p",
    codec="h264",
    size_bytes=999,
)


def test_a_clip_of_the_planned_frames_passes():
    check_presented(CLIP, 3)
    check_presented(CLIP, 3, [0, 40, 80])


@pytest.mark.parametrize(
    ("changes", "planned_pts", "code"),
    [
        ({"frame_pts": [0, 40]}, None, "wrong_count"),
        ({"frame_pts": [0, 40, 80, 120]}, None, "wrong_count"),
        ({"frame_pts": [0, 80, 40]}, None, "wrong_times"),
        ({"frame_pts": [0, 41, 80]}, [0, 40, 80], "wrong_times"),
        ({"corrupt_frames": 1}, [0, 40, 80], "corrupt_frames"),
    ],
)
def test_any_other_clip_is_refused_with_a_code(changes, planned_pts, code):
    with pytest.raises(CutNotExact) as refusal:
        check_presented(replace(CLIP, **changes), 3, planned_pts)
    assert refusal.value.code == code
