"""Training from real published shards: the only data path a user has."""

import io
import json
from fractions import Fraction
from functools import partial

import av
import pyarrow as pa
import pytest
import torch

from shards.errors import ConfigError, ContractError
from shards.format.commit import commit_shard
from shards.format.index import ROW
from shards.reading.reader import open_dataset
from shards.versions.publish import publish
from shards.versions.splits import SplitConfig
from tests.train.moving_square import COLOURS, STEPS, draw
from train.conditions.columns import told_scores
from train.config import DataConfig
from train.data import ShardSource
from train.embed import embed
from train.embedded import codec_sha256
from train.metrics import read_reports
from train.models.autoencoder3d import VideoAutoencoder, VideoAutoencoderConfig
from train.models.codec import build_codec
from train.plan import describe
from train.trainer import fit

CPU = torch.device("cpu")


def encode(frames_THWC) -> tuple[bytes, list[int], Fraction]:
    """An MP4 of frames at 8 frames/s, its pts and its time base."""
    sink = io.BytesIO()
    with av.open(sink, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=8, options={"crf": "10", "threads": "1"})
        stream.height, stream.width, stream.pix_fmt = *frames_THWC.shape[1:3], "yuv420p"
        for frame_HWC in frames_THWC:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame_HWC, format="rgb24")))
        container.mux(stream.encode(None))
    with av.open(io.BytesIO(sink.getvalue()), "r") as container:
        pts = [frame.pts for frame in container.decode(video=0) if frame.pts is not None]
        base = container.streams.video[0].time_base
    assert base is not None
    return sink.getvalue(), pts, base


def row(number: int, caption: str | None, pts: list[int], base: Fraction) -> dict[str, object]:
    return {
        "key": f"clip-{number:03d}", "codec": "h264", "width": 16, "height": 16, "rotation_deg": 0, "sar_num": 1,
        "sar_den": 1, "pix_fmt": "yuv420p", "num_frames": len(pts), "preroll_frames": 0, "frame_pts": pts,
        "time_base_num": base.numerator, "time_base_den": base.denominator, "duration_s": len(pts) / 8,
        "cut_mode": "encode", "caption": caption, "caption_source": caption and "sidecar", "video_id": f"video{number}",
        "source_uri": "/v.mp4", "source_sha256": "0" * 64, "source_start_pts": 0, "source_end_pts": len(pts),
        "source_time_base_num": 1, "source_time_base_den": 8,
    }  # fmt: skip


@pytest.fixture
def dataset(tmp_path):
    """Nine published clips of 6 frames, one of them without caption."""
    rows, members = [], []
    for number in range(9):
        colour, direction = list(COLOURS)[number % 2], list(STEPS)[number // 2 % 2]
        mp4, pts, base = encode(draw(colour, direction, row=4, frames=6))
        rows.append(row(number, f"a {colour} square moves {direction}" if number else None, pts, base))
        members.append({"mp4": mp4})
    commit = commit_shard(
        tmp_path / "dataset", "ab" * 32, 0, "toy", pa.Table.from_pylist(rows, schema=ROW), members, tmp_path
    )
    publish(tmp_path / "dataset", [commit], {}, SplitConfig(val=0.0, test=0.0))
    return tmp_path / "dataset"


def test_a_model_trains_from_shards_and_resumes(tiny, dataset, tmp_path):
    config = tiny(f"data.uri={dataset}", "data.num_workers=0", "data.view.fps=8", "budget.steps=3")
    assert fit(config, tmp_path / "run").step == 3
    more = config.model_copy(update={"budget": tiny("budget.steps=5").budget})
    result = fit(more, tmp_path / "run")
    assert result.step == 5
    assert result.skipped_steps == 0


def test_clips_without_caption_are_left_out(tiny, dataset):
    source = ShardSource(tiny(f"data.uri={dataset}", "data.num_workers=0").data)
    assert len(source.captions()) == 8
    clips = next(source.batches(0, 1, None))
    assert clips.video.shape == (4, 4, 16, 16, 3)
    assert None not in clips.captions


def test_the_plan_of_a_run_is_told_before_it_starts(tiny, dataset):
    plan = describe(tiny(f"data.uri={dataset}", "budget.steps=6"))
    assert plan["data"]["clips_in_split"] == 9
    assert plan["data"]["clips_usable"] == 8
    assert plan["data"]["steps_per_epoch"] == 2
    assert plan["data"]["epochs"] == 3.0
    assert plan["vocabulary_words"] == 7
    assert plan["model"]["latent_TCHW"] == [2, 60, 4, 4]
    assert plan["model"]["parameters"] == sum(plan["model"]["parameters_by_part"].values())


def test_no_shards_is_a_config_error():
    with pytest.raises(ConfigError, match=r"--set data\.uri=DIR"):
        ShardSource(DataConfig())


def test_a_mixture_is_read_like_a_dataset(tiny, dataset):
    parts = f"[{{uri: {dataset}, weight: 3}}, {{uri: {dataset}, weight: 1}}]"
    config = tiny(f"data.mix={parts}", "data.num_workers=0")
    source = ShardSource(config.data)
    assert len(source.captions()) == 16
    assert describe(config)["data"]["clips_usable"] == 16
    batches = source.batches(0, 1, None)
    ids = [sample for _ in range(source.plan.steps_per_epoch) for sample in next(batches).ids]
    assert [sum(sample < 9 for sample in ids), len(ids)] == [12, 16]
    with pytest.raises(ConfigError, match="one of the two is allowed"):
        tiny(f"data.uri={dataset}", f"data.mix={parts}")


def test_buckets_and_stills_train_together(tiny, dataset, tmp_path):
    shapes = ("data.view.shapes=[4x16x16, 2x32x32]", "data.plan.bucket_by=shape", "data.plan.images=0.5")
    config = tiny(f"data.uri={dataset}", "data.num_workers=0", "data.plan.global_batch=2", "budget.steps=6", *shapes)
    source = ShardSource(config.data)
    batches = source.batches(0, 1, None)
    seen = {tuple(next(batches).video.shape[1:4]) for _ in range(2 * source.plan.steps_per_epoch)}
    assert {frames for frames, _, _ in seen} == {1, 4}  # small clips would be enlarged to 32 px, so none goes there
    result = fit(config, tmp_path / "run")
    assert (result.step, result.skipped_steps) == (6, 0)
    reports = read_reports(tmp_path / "run")
    assert {round(report.latents_per_s / report.clips_per_s) for report in reports} == {1, 2}  # stills, 4 frames by 2
    assert describe(config)["data"]["empty_buckets"] == ["1x32x32", "2x32x32"]


def test_a_shape_that_the_codec_cannot_take_is_refused(tiny, dataset, tmp_path):
    config = tiny(f"data.uri={dataset}", "data.view.shapes=[4x16x16, 3x16x16]", "data.plan.bucket_by=shape")
    with pytest.raises(ConfigError, match="3 frames of 16x16; multiples of 2 frames"):
        fit(config, tmp_path / "run")


def test_training_on_latents_made_ahead_equals_training_live(tiny, dataset, tmp_path):
    view = ("data.num_workers=0", "data.view.start=begin", "data.view.fps=null")
    live = tiny(f"data.uri={dataset}", *view)
    made = embed(
        live.data, open_dataset(dataset), live.codec, build_codec(live.codec), CPU, tmp_path / "latents", tmp_path
    )
    assert made.splits == open_dataset(dataset).manifest.splits
    assert open_dataset(tmp_path / "latents").members == ("json", "latent.npy", "txt")
    ahead = tiny(f"data.uri={tmp_path / 'latents'}", "data.read=latents", *view)
    fit(live, tmp_path / "live")
    fit(ahead, tmp_path / "ahead")
    losses = [[report.loss for report in read_reports(tmp_path / name)] for name in ("live", "ahead")]
    assert losses[0] == losses[1]


def test_shards_of_latents_that_stand_are_not_made_again(tiny, dataset, tmp_path, monkeypatch):
    config = tiny(f"data.uri={dataset}", "data.num_workers=0", "data.view.start=begin")
    make = partial(embed, config.data, open_dataset(dataset), config.codec, build_codec(config.codec), CPU)
    first = make(tmp_path / "latents", tmp_path)
    monkeypatch.setattr("train.embed.encode_video", None)  # whoever encodes now fails
    counted = []
    assert make(tmp_path / "latents", tmp_path, counted.append) == first
    assert counted == [9]


def test_the_identity_of_a_codec_is_what_it_computes_not_where_its_weights_lie():
    config = VideoAutoencoderConfig(width=4, norm_groups=4)
    codec, other = VideoAutoencoder(config), VideoAutoencoder(config)
    moved = config.model_copy(update={"weights": "elsewhere"})
    assert codec_sha256(config, codec) == codec_sha256(moved, codec)
    assert codec_sha256(config, codec) != codec_sha256(config, other)
    assert codec_sha256(config, codec.bfloat16()) != codec_sha256(config, other)


def test_latents_of_another_codec_or_view_are_refused(tiny, dataset, tmp_path):
    view = (f"data.uri={tmp_path / 'latents'}", "data.num_workers=0", "data.view.start=begin")
    made = tiny(f"data.uri={dataset}", *view[1:])
    codec = build_codec(made.codec)
    embed(made.data, open_dataset(dataset), made.codec, codec, CPU, tmp_path / "latents", tmp_path)
    with pytest.raises(ContractError, match="were made with codec_sha256"):
        fit(tiny(*view, "data.read=latents", "codec={kind: transform, kept_coefficients: 5}"), tmp_path / "run")
    with pytest.raises(ContractError, match="were made with view"):
        ShardSource(tiny(*view, "data.read=latents", "data.view.num_frames=2").data)
    with pytest.raises(ConfigError, match="holds none; make them by train embed"):
        ShardSource(tiny(*view[1:], f"data.uri={dataset}", "data.read=latents").data)
    with pytest.raises(ConfigError, match="start is random with read: latents"):
        tiny(*view[:2], "data.read=latents")


def test_the_loss_is_split_by_source_and_score(tiny, dataset, tmp_path):
    metrics = ("metrics.by_columns=[duration_s]", "metrics.by_sources=3", "budget.steps=2")
    fit(tiny(f"data.uri={dataset}", "data.num_workers=0", *metrics), tmp_path / "run")
    axes = json.loads((tmp_path / "run" / "axes.json").read_text())
    assert list(axes) == ["level", "frame", "text", "duration_s", "source"]
    assert axes["source"] == ["video0", "video1", "video2", "other"]
    by = read_reports(tmp_path / "run")[0].loss_by
    assert {name: len(values) for name, values in by.items()} == {name: len(labels) for name, labels in axes.items()}
    assert by["duration_s"][:-1] == [None] * 9  # all clips last as long: one tenth has them all
    assert by["duration_s"][-1] == pytest.approx(read_reports(tmp_path / "run")[0].loss)


def test_scores_come_from_the_index(tiny, dataset):
    overrides = ("data.num_workers=0", "data.view.fps=8", "data.view.score_columns=[duration_s]")
    config = tiny(f"data.uri={dataset}", *overrides, "conditions.scores=[{column: duration_s, low: 0, high: 1.5}]")
    clips = next(ShardSource(config.data).batches(0, 1, None))
    assert clips.scores["duration_s"].tolist() == [0.75] * 4  # 6 frames at 8 a second
    assert told_scores(config.conditions.scores, clips.scores, 4).flatten().tolist() == [0.5] * 4
