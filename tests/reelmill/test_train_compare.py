import numpy as np
import pytest

from reelmill.bench.long_compare import judge
from reelmill.bench.toy_clips import ToyClips
from reelmill.bench.train_compare import CODECS, OBJECTIVES, CompareConfig, compare, table
from reelmill.toyworld.oracle import read, score
from shards.config import load_config
from shards.errors import ConfigError
from train.config import TrainConfig

SMALL = CompareConfig(
    steps=1,
    num_clips=16,
    seen_prompts=1,
    samples_per_prompt=1,
    videos=1,
    frames=64,
    train=("trunk.channels=[8, 16]", "trunk.modulation_width=16", "optim.hidden=adamw", "sampler.steps=2"),
)
CLIPS = ToyClips(num_clips=32, global_batch=4, num_frames=16, fps=8, size_px=32)


def test_drawn_clips_show_what_their_caption_says():
    right = [all(score(CLIPS.draw(number), CLIPS.combination(number)).values()) for number in range(20)]
    assert np.mean(right) >= 0.9


def test_a_bouncing_shape_stays_in_the_picture_for_128_seconds():
    clips = ToyClips(num_clips=1, global_batch=1, num_frames=1024, fps=8, size_px=32, bouncing=True)
    video_THWC, shown = clips.draw(0), clips.combination(0)
    windows = [read(video_THWC[start : start + 16]) for start in range(0, 1024, 64)]
    assert all((reading.colour, reading.kind) == (shown.colour, shown.kind) for reading in windows)
    assert judge(video_THWC[None]) == {"readable": 1.0, "kept": 1.0, "kept at the end": 1.0}


def test_a_video_that_loses_its_shape_is_judged_so():
    clips = ToyClips(num_clips=80, global_batch=1, num_frames=32, fps=8, size_px=32, bouncing=True)
    first, other = clips.draw(0), clips.draw(79)  # of another colour
    grey = np.full_like(first, 120)
    found = judge(np.concatenate([first, other, grey, first])[None])  # 8 windows: 2 kept, 2 other, 2 empty, 2 kept
    assert found == {"readable": 0.75, "kept": 0.5, "kept at the end": 1.0}


def test_clips_go_on_where_they_were_left():
    stream = CLIPS.batches(0, 1, None)
    batches = [next(stream) for _ in range(10)]  # 8 steps an epoch
    assert sorted(number for batch in batches[:8] for number in batch.ids) == list(range(32))
    assert [batch.epoch for batch in batches[6:]] == [0, 0, 1, 1]
    again = CLIPS.batches(0, 1, batches[7].position)
    assert next(again).ids == batches[8].ids
    halves = [next(CLIPS.batches(rank, 2, None)).ids for rank in (0, 1)]
    assert sorted(halves[0] + halves[1]) == sorted(batches[0].ids)


@pytest.mark.parametrize("overrides", [*OBJECTIVES.values(), *CODECS.values()])
def test_every_variant_is_a_config(overrides):
    load_config(TrainConfig, "train/toyworld", overrides)


def test_an_unknown_comparison_is_named(tmp_path):
    with pytest.raises(ConfigError, match="objectives, codecs, traps, long are allowed"):
        compare("objektives", SMALL, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "count"), [("objectives", 5), ("traps", 5), ("long", 4)])
def test_a_comparison_trains_and_judges_every_variant(tmp_path, name, count):
    rows = compare(name, SMALL, tmp_path)
    assert len(rows) == count
    assert len(table(rows)) == count + 1
    assert all(0 <= share <= 1 for row in rows for share in row.figures.values())
    assert (tmp_path / f"{name}.json").is_file()
