"""A finished run directory without a run: drawn frames, invented scores, real decisions."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from shards.ids import clip_id
from shards.schema import CLIP, DECISION, VIDEO, column, from_rows

SCORES = pa.schema(
    [
        column("luma_change", pa.float32(), "levels/s", "Mean absolute luma change per second; 0 is a still."),
        column("flow_mag", pa.float32(), "widths/s", "Median optical flow."),
        column("luma_mean", pa.float32(), "levels", "Mean luma, 0 to 255."),
        column("border_share", pa.float32(), "", "Share of the picture that is black border."),
        column("is_duplicate", pa.bool_(), "", "An equal clip came earlier."),
        column("caption", pa.string(), "", "What a model or a sidecar says."),
        column("caption_source", pa.string(), "", "Who says it."),
        column("aesthetic", pa.float32(), "", "LAION score, about 1 to 10."),
    ]
)
CLIP_ROWS = pa.schema([*CLIP, *SCORES, *DECISION])
KEEP = {
    "moves": "luma_change >= 6",
    "bright_enough": "luma_mean BETWEEN 40 AND 220",
    "no_borders": "border_share < 0.12",
    "unique": "NOT is_duplicate",
}
FPS, CLIP_FRAMES = 25, 50


def make_run(
    root: Path, num_videos: int = 4, clips_per_video: int = 10, captions: list[str] | None = None, seed: int = 0
) -> Path:
    """Write catalog, frames, config, plan and metrics of an invented run; returns `root`."""
    rng = np.random.default_rng(seed)
    videos = [toy_video(number, clips_per_video) for number in range(num_videos)]
    clips = [row for video in videos for row in _segments(video, clips_per_video, rng, captions or _captions(rng))]
    write_catalog(root, [*videos, *failed_videos()], clips)
    _write_frames(root, clips)
    _write_facts(root, num_videos * clips_per_video * CLIP_FRAMES)
    return root


def write_catalog(root: Path, videos: list[dict[str, Any]], clips: list[dict[str, Any]]) -> None:
    """Write both tables of the catalog."""
    (root / "catalog").mkdir(parents=True, exist_ok=True)
    pq.write_table(from_rows(videos, VIDEO), root / "catalog" / "videos.parquet")
    pq.write_table(from_rows(clips, CLIP_ROWS), root / "catalog" / "clips.parquet")


def toy_video(number: int, clips_per_video: int) -> dict[str, Any]:
    codec, container = [("h264", "mov,mp4,m4a,3gp,3g2,mj2"), ("vp9", "matroska,webm"), ("mpeg4", "avi")][number % 3]
    num_frames = clips_per_video * CLIP_FRAMES
    return {
        "uri": f"/videos/holiday {number:02d}.mp4", "video_id": f"{number:016x}", "sha256": f"{number:064x}",
        "size_bytes": 1_000_000 + number, "container": container, "stream_index": 0, "num_video_streams": 1,
        "codec": codec, "width": 1280, "height": 720, "rotation_deg": 0, "sar_num": 1, "sar_den": 1,
        "pix_fmt": "yuv420p", "color_transfer": "bt709", "has_audio": False, "rate_num": FPS, "rate_den": 1,
        "is_vfr": number % 3 == 1, "start_pts": 0, "end_pts": num_frames, "time_base_num": 1, "time_base_den": FPS,
        "num_packets": num_frames, "num_frames": num_frames, "status": "ok",
    }  # fmt: skip


def failed_videos() -> list[dict[str, Any]]:
    return [
        {
            "uri": "/videos/empty.mp4",
            "size_bytes": 0,
            "status": "failed",
            "error": "empty_file",
            "error_detail": "0 bytes",
        },
        {
            "uri": "/videos/<script>alert(1)</script>\x1b[31m\u202egpj.mp4",
            "size_bytes": 4096,
            "status": "failed",
            "error": "not_a_video",
            "error_detail": '<img src=x onerror="alert(2)">\x07\nInvalid data',
        },
    ]


def _segments(video: dict[str, Any], count: int, rng: np.random.Generator, captions: list[str]) -> list[dict[str, Any]]:
    rows = []
    for index in range(count):
        start = index * CLIP_FRAMES
        row = {
            "clip_id": clip_id(video["video_id"], 0, start, start + CLIP_FRAMES), "video_id": video["video_id"],
            "stream_index": 0, "start_pts": start, "end_pts": start + CLIP_FRAMES, "time_base_num": 1,
            "time_base_den": FPS, "num_frames": CLIP_FRAMES, "start_kind": "cut", "end_kind": "cut",
        }  # fmt: skip
        if index == count - 1:
            rows.append(row | {"segment": "fade", "status": "rejected", "drop_rule": "segment_fade"})
        else:
            rows.append(_decided(row | {"segment": "clip"} | _scores(rng, captions)))
    return rows


def _scores(rng: np.random.Generator, captions: list[str]) -> dict[str, Any]:
    missing = rng.random() < 0.08
    return {
        "luma_change": float(rng.lognormal(3, 1.1)),
        "flow_mag": float(rng.lognormal(-2, 1.6)),
        "luma_mean": float(np.clip(rng.normal(110, 45), 0, 255)),
        "border_share": float(rng.choice([0.0, 0.25], p=[0.85, 0.15])),
        "is_duplicate": bool(rng.random() < 0.08),
        "caption": str(rng.choice(captions)),
        "caption_source": "toy-blip2",
        "aesthetic": None if missing else float(rng.normal(5, 0.7)),
        "error": "aesthetic:model_missing" if missing else None,
    }


def _decided(row: dict[str, Any]) -> dict[str, Any]:
    tests = {
        "moves": (row["luma_change"] >= 6, row["luma_change"]),
        "bright_enough": (40 <= row["luma_mean"] <= 220, row["luma_mean"]),
        "no_borders": (row["border_share"] < 0.12, row["border_share"]),
        "unique": (not row["is_duplicate"], None),
    }
    for name, (is_kept, value) in tests.items():
        if not is_kept:
            return row | {"status": "rejected", "drop_rule": name, "drop_value": value}
    return row | {"status": "kept"}


def _captions(rng: np.random.Generator) -> list[str]:
    colours, kinds = ["red", "blue", "yellow", "green"], ["circle", "square", "triangle"]
    ways = ["left", "right", "up", "down"]
    return [f"a {rng.choice(colours)} {rng.choice(kinds)} moves {rng.choice(ways)}" for _ in range(12)]


def _write_frames(root: Path, clips: list[dict[str, Any]]) -> None:
    folder = root / "parts" / "frames"
    folder.mkdir(parents=True)
    rows = [
        {"video_id": row["video_id"], "pts": row["start_pts"] + offset, "jpeg": picture(row, offset)}
        for row in clips
        if row["segment"] == "clip"
        for offset in (0, 16, 33, 49)
    ]
    schema = pa.schema([("video_id", pa.string()), ("pts", pa.int64()), ("jpeg", pa.binary())])
    half = len(rows) // 2
    for name, part in (("000000-a", rows[:half]), ("000001-b", rows[half:])):
        pq.write_table(pa.Table.from_pylist(part, schema), folder / f"{name}.parquet", row_group_size=16)


def picture(row: dict[str, Any], offset: int) -> bytes:
    picture_HWC = np.full((144, 256, 3), row["luma_mean"] * 0.8, np.uint8)
    picture_HWC[:, :, 0] = np.linspace(0.4, 1, 256) * row["luma_mean"]
    hue = int(row["clip_id"][:2], 16)
    x = 40 + int(offset * min(row["luma_change"], 60) / 18) % 200
    cv2.circle(picture_HWC, (x, 72), 26, (hue, 255 - hue, (hue * 7) % 255), -1, cv2.LINE_AA)
    if row["border_share"] > 0.1:
        picture_HWC[:18] = picture_HWC[-18:] = 0
    return cv2.imencode(".jpg", picture_HWC)[1].tobytes()


def _write_facts(root: Path, num_frames: int) -> None:
    (root / "config.yaml").write_text(yaml.safe_dump({"scan": {"height": 72}, "keep": KEEP}, sort_keys=False))
    steps = [
        {"name": "scan", "kind": "map", "version": 1, "reads": [], "adds": ["num_frames"], "rules": {}},
        {"name": "motion", "kind": "map", "version": 2, "reads": [], "adds": ["luma_change"], "rules": {"moves": "x"}},
    ]
    (root / "plan.json").write_text(json.dumps({"plan_id": "ab" * 32, "steps": steps}))
    metrics = {
        "steps": [
            {"step": "probe", "items": 4, "cpu_s": 0.41, "wall_s": 0.62},
            {"step": "scan", "items": 4, "cpu_s": 12.5, "wall_s": 13.1},
            {"step": "scenes", "items": 4, "cpu_s": 1.9, "wall_s": 1.95},
            {"step": "pack", "items": 2, "cpu_s": 3.2, "wall_s": 4.8},
        ],
        "frames": {
            "source": num_frames, "decoded_keyframes": num_frames // 50, "decoded_scan": num_frames,
            "decoded_verify": num_frames // 2, "encoded": num_frames // 40,
        },
        "versions": {"python": "3.11.9", "ffmpeg": "7.0.2", "opencv": "4.12"},
        "machine": {"cores": 2, "memory_gb": 7.8, "platform": "Linux"},
    }  # fmt: skip
    (root / "metrics.json").write_text(json.dumps(metrics))
