import pyarrow as pa

from curate.decision.dedup import ExactDuplicates, mark_duplicate_videos
from shards.schema import column
from tests.curate.tables import clip, clips_of, video, videos_of

HASH = (column("frames_xxh3", pa.string(), "", ""),)


def hashed(*pairs: tuple[str, str | None]) -> pa.Table:
    rows = [{**clip(name, 0, 10), "clip_id": name, "frames_xxh3": value} for name, value in pairs]
    return clips_of(*rows, extra=HASH)


def test_equal_frames_share_a_group_and_the_smallest_id_is_the_keeper():
    table = ExactDuplicates().gather(hashed(("c", "x"), ("a", "y"), ("b", "x"), ("d", "x")))
    assert table["dup_group"].to_pylist() == ["b", "a", "b", "b"]
    assert table["is_duplicate"].to_pylist() == [True, False, False, True]
    assert table["clip_id"].to_pylist() == ["c", "a", "b", "d"]


def test_the_keeper_does_not_depend_on_the_order_of_rows():
    pairs = [("c", "x"), ("a", "y"), ("b", "x")]
    forward, backward = (ExactDuplicates().gather(hashed(*order)) for order in (pairs, pairs[::-1]))
    assert forward.sort_by("clip_id").equals(backward.sort_by("clip_id"))


def test_segments_without_a_hash_belong_to_no_group():
    table = ExactDuplicates().gather(hashed(("a", None), ("b", None)))
    assert table["dup_group"].to_pylist() == [None, None]
    assert table["is_duplicate"].to_pylist() == [None, None]


def test_no_clips_give_the_columns():
    table = ExactDuplicates().gather(hashed())
    assert table.schema.names[-2:] == ["dup_group", "is_duplicate"]


def test_a_file_at_several_uris_stays_at_the_first_one():
    videos = videos_of(
        video("v", uri="/z.mp4"), video("w", uri="/b.mp4"), video("v", uri="/a.mp4"), video("v", uri="/m.mp4")
    )
    clips = clips_of(clip("v", 0, 100), clip("w", 0, 100), clip("v", 0, 100), clip("v", 0, 100))
    videos, clips = mark_duplicate_videos(videos, clips)
    assert videos["uri"].to_pylist() == ["/z.mp4", "/b.mp4", "/a.mp4", "/m.mp4"]
    assert videos["status"].to_pylist() == ["rejected", "ok", "ok", "rejected"]
    assert videos["drop_rule"].to_pylist() == ["exact_duplicate", None, None, "exact_duplicate"]
    assert clips["video_id"].to_pylist() == ["v", "w"]


def test_a_copy_that_failed_does_not_stand_for_the_one_that_was_scanned():
    videos = videos_of(video("v", uri="/a.mp4", status="failed", error="deadline"), video("v", uri="/b.mp4"))
    videos, _ = mark_duplicate_videos(videos, clips_of(clip("v", 0, 100)))
    assert videos["status"].to_pylist() == ["failed", "ok"]


def test_unreadable_files_are_no_duplicates_of_each_other():
    unreadable = [{"uri": f"/{name}", "status": "failed", "error": "not_a_video"} for name in "ab"]
    videos, _ = mark_duplicate_videos(videos_of(*unreadable), clips_of())
    assert videos["status"].to_pylist() == ["failed", "failed"]
