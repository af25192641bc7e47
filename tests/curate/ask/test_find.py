from fractions import Fraction

import pytest

from curate.ask.find import find_clip, find_video, segment_at, segments_of, split_question
from shards.errors import ConfigError
from tests.curate.tables import clip, clips_of, video, videos_of

VIDEOS = videos_of(
    video("a", 100, start_pts=50),
    video("b", 100) | {"uri": "/more/b.mp4"},
    video("b", 100, status="rejected", drop_rule="exact_duplicate") | {"uri": "/again/copy.mp4"},
    video("c", 100) | {"uri": "/x/same.mp4"},
    video("d", 100) | {"uri": "/y/same.mp4"},
)
ROWS = [clip("a", 75, 100), clip("a", 50, 75, segment="fade")]
CLIPS = clips_of(*ROWS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.mp4", ("a.mp4", None)),
        ("a.mp4@12.5", ("a.mp4", Fraction(25, 2))),
        ("a@b.mp4@1:02.5", ("a@b.mp4", Fraction(125, 2))),
        ("a@1:00:01", ("a", Fraction(3601))),
        ("me@home.mp4", ("me@home.mp4", None)),
    ],
)
def test_a_time_after_the_last_at_is_a_second(text: str, expected: tuple[str, Fraction | None]):
    assert split_question(text) == expected


def test_a_video_is_found_by_uri_id_name_and_stem_and_equal_contents_by_the_one_that_was_scanned():
    names = ("/a.mp4", "a", "a.mp4")
    assert [find_video(VIDEOS, name)["video_id"] for name in names] == ["a"] * 3
    assert find_video(VIDEOS, "b")["uri"] == "/more/b.mp4"
    assert find_video(VIDEOS, "copy.mp4")["status"] == "rejected"


def test_a_name_of_none_and_a_name_of_several_are_refused():
    with pytest.raises(ConfigError, match=r"id is 'nothing\\x1b'"):
        find_video(VIDEOS, "nothing\x1b")
    with pytest.raises(ConfigError, match=r"2 videos have it; name one by its uri: /x/same\.mp4, /y/same\.mp4"):
        find_video(VIDEOS, "same")


def test_seconds_count_from_the_first_frame():
    """The video begins at pts 50 of 25 a second: second 1 is pts 75."""
    a = find_video(VIDEOS, "a")
    segments = segments_of(CLIPS, a)
    assert [row["start_pts"] for row in segments] == [50, 75]
    found = [segment_at(segments, a, second)["start_pts"] for second in (Fraction(0), Fraction(99, 100), Fraction(1))]
    assert found == [50, 50, 75]
    with pytest.raises(ConfigError, match=r"second is 0:02\.00; the video lasts from 0 to 0:02\.00"):
        segment_at(segments, a, Fraction(2))


def test_a_clip_is_found_by_its_id():
    found = find_clip(CLIPS, ROWS[0]["clip_id"])
    assert found is not None
    assert found["start_pts"] == 75
    assert find_clip(CLIPS, "a") is None
