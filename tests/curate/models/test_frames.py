import numpy as np
import pyarrow as pa
import pytest

from curate.models.frames import clip_frames
from curate.stage import ClipFrames
from shards.errors import ClipError
from tests.curate.model_clips import clip_row, clips_table, jpeg


def spool(rows: list[tuple[str, int, bytes]]) -> pa.Table:
    ids, pts, jpegs = zip(*rows, strict=True)
    return pa.table({"video_id": ids, "pts": pa.array(pts, pa.int64()), "jpeg": pa.array(jpegs, pa.binary())})


def grey(level: int) -> bytes:
    return jpeg(np.full((16, 24, 3), level, np.uint8))


def test_a_clip_gets_the_frames_of_its_half_open_span_in_order():
    frames = spool(
        [("v", 200, grey(9)), ("v", 150, grey(50)), ("w", 120, grey(7)), ("v", 100, grey(20)), ("v", 99, grey(3))]
    )
    (item,) = clip_frames(clips_table([clip_row(1)]), frames)
    assert isinstance(item, ClipFrames)
    assert list(item.pts) == [100, 150]
    assert [int(frame.mean()) for frame in item.rgb] == [20, 50]
    assert item.rgb[0].shape == (16, 24, 3)


def test_colours_come_back_as_rgb():
    red_HWC = np.zeros((16, 16, 3), np.uint8)
    red_HWC[:, :, 0] = 250
    (item,) = clip_frames(clips_table([clip_row(0)]), spool([("v", 0, jpeg(red_HWC))]))
    assert isinstance(item, ClipFrames)
    assert item.rgb[0].mean(axis=(0, 1)) == pytest.approx([250, 0, 0], abs=3)


def test_a_frame_spooled_twice_counts_once():
    (item,) = clip_frames(clips_table([clip_row(0)]), spool([("v", 5, grey(1)), ("v", 5, grey(1))]))
    assert isinstance(item, ClipFrames)
    assert list(item.pts) == [5]


def test_a_segment_that_is_no_clip_has_no_frames_and_no_error():
    assert clip_frames(clips_table([clip_row(0, segment="dissolve")]), spool([("v", 5, grey(1))])) == [None]


@pytest.mark.parametrize("video_id", ["v", "never_spooled"])
def test_a_clip_without_frames_says_which_knob_to_turn(video_id):
    (item,) = clip_frames(clips_table([clip_row(3, video_id=video_id)]), spool([("v", 5, grey(1))]))
    assert isinstance(item, ClipError)
    assert item.code == "no_model_frames"
    assert "lower scan.model_frames.interval_s" in str(item)


def test_a_broken_jpeg_is_an_error_of_its_clip_when_looked_at():
    (item,) = clip_frames(clips_table([clip_row(0)]), spool([("v", 5, b"no jpeg"), ("v", 6, b"")]))
    assert isinstance(item, ClipFrames)
    for frame in range(2):
        with pytest.raises(ClipError, match="are no JPEG"):
            item.rgb[frame]
