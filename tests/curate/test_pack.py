from typing import Any

import pyarrow as pa

from curate.clips.cut import CutConfig
from curate.pack import PackConfig, bucket_name, mark_failed, plan_shards, score_fields
from shards.schema import CLIP, DECISION, VIDEO, column, from_rows, strings

SCHEMA = pa.schema([*CLIP, column("flow_mag", pa.float32(), "diagonals/s", "Flow."), *DECISION])


def video(video_id: str, width: int = 64, height: int = 48, size_bytes: int = 1000) -> dict[str, Any]:
    size = {"width": width, "height": height, "rotation_deg": 0, "sar_num": 1, "sar_den": 1, "size_bytes": size_bytes}
    return {"video_id": video_id, "uri": video_id, "status": "ok", "start_pts": 0, "end_pts": 1000, **size}


def clip(clip_id: str, video_id: str, num_frames: int = 20, status: str = "kept") -> dict[str, Any]:
    span = {"start_pts": 0, "end_pts": 100, "time_base_num": 1, "time_base_den": 25, "num_frames": num_frames}
    return {"clip_id": clip_id, "video_id": video_id, "status": status, **span}


def shards_of(
    clips: list[dict[str, Any]], videos: list[dict[str, Any]], config: PackConfig
) -> list[tuple[str, list[str]]]:
    tasks = plan_shards(from_rows(clips, SCHEMA), from_rows(videos, VIDEO), config, CutConfig())
    return [(task.bucket, strings(task.clips, "clip_id")) for task in tasks]


def test_a_bucket_is_the_floor_of_the_frames_and_the_displayed_size():
    config = PackConfig(frame_buckets=(8, 16, 32))
    assert bucket_name(31, (48, 64), config) == "16x48x64"
    assert bucket_name(32, (48, 64), config) == "32x48x64"
    assert bucket_name(5, (48, 64), config) == "5x48x64"


def test_kept_clips_are_grouped_by_bucket_in_order_of_their_ids_and_the_rest_is_left_out():
    videos = [video("v"), video("w", width=32, height=32)]
    clips = [clip("c", "v"), clip("a", "v"), clip("b", "w"), clip("d", "v", status="rejected")]
    assert shards_of(clips, videos, PackConfig()) == [("16x32x32", ["b"]), ("16x48x64", ["a", "c"])]


def test_the_plan_does_not_depend_on_the_order_of_rows():
    videos = [video("v")]
    clips = [clip(name, "v") for name in "fbdace"]
    config = PackConfig(samples_per_shard=4)
    assert shards_of(clips, videos, config) == shards_of(clips[::-1], videos, config)
    assert shards_of(clips, videos, config) == [("16x48x64", list("abcd")), ("16x48x64", list("ef"))]


def test_a_shard_is_closed_when_its_share_of_the_sources_reaches_the_size():
    """Each clip is a tenth of a 1000-byte video, so 250 bytes are reached by the third."""
    clips = [clip(name, "v") for name in "abcd"]
    assert shards_of(clips, [video("v")], PackConfig(shard_bytes=250)) == [
        ("16x48x64", ["a", "b", "c"]),
        ("16x48x64", ["d"]),
    ]


def test_no_kept_clip_means_no_shard():
    assert shards_of([clip("a", "v", status="rejected")], [video("v")], PackConfig()) == []


def test_a_clip_that_cannot_be_cut_is_failed_and_keeps_its_other_codes():
    row = clip("a", "v") | {"error": "motion:clip_too_short"}
    table = mark_failed(from_rows([row, clip("b", "v")], SCHEMA), {"a": "cut:cut_not_exact"})
    first, second = table.to_pylist()
    assert (first["status"], first["drop_rule"]) == ("failed", "cut:cut_not_exact")
    assert first["error"] == "motion:clip_too_short;cut:cut_not_exact"
    assert (second["status"], second["error"]) == ("kept", None)


def test_only_columns_of_stages_are_scores():
    assert [field.name for field in score_fields(SCHEMA)] == ["flow_mag"]
