"""Long videos from a tiny network that makes four frames."""

from dataclasses import replace

import numpy as np
import pytest

from shards.errors import ConfigError
from tests.train.moving_square import MovingSquares
from train.sample.generate import load, with_overrides
from train.sample.long import generate_long
from train.sample.windows import AutoregressiveWindowConfig, HierarchicalWindowConfig
from train.trainer import fit

PROMPT = ["a red square moves left"]
FRAMES = (
    "codec={kind: transform, haar_frames: 1}",
    "conditions.frames={masks: [{kind: prediction}, {kind: interpolation}], perturb_max: 0.2, level_embedding: frame}",
    "budget.steps=2",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    from copy import deepcopy

    from shards.config import apply_overrides, parse_config
    from tests.train.moving_square import TINY, MovingSquares
    from train.config import TrainConfig

    folder = tmp_path_factory.mktemp("frames")
    fit(parse_config(TrainConfig, apply_overrides(deepcopy(TINY), FRAMES)), folder, source=MovingSquares())
    return folder


@pytest.fixture
def model(run):
    return load(run)


def test_hierarchical_windows_make_1024_frames_from_clips_of_four(model):
    windows = HierarchicalWindowConfig(num_levels=4)  # key frames 81 apart, 3 new ones per call
    video = generate_long(model, model.wishes(PROMPT), 1024, windows=windows, batch_size=64)
    assert video.shape == (1, 1024, 16, 16, 3)
    assert video.dtype == np.uint8
    # no frame was left unwritten: a latent of zero is one flat picture, the mean of the latents
    assert len({frame.tobytes() for frame in video[0]}) == 1024


def test_the_first_window_is_the_short_video_and_later_ones_hold_its_end(model):
    windows = AutoregressiveWindowConfig(overlap=1)
    video = generate_long(model, model.wishes(PROMPT), 7, windows=windows)
    short = model.generate(PROMPT)
    assert np.abs(video[:, :4].astype(int) - short.astype(int)).max() <= 1
    mask = np.array([[1, 0, 0, 0]])
    held = model.generate(PROMPT, given=(video[:, 3:7], mask))
    assert np.abs(held[:, 0].astype(int) - video[:, 3].astype(int)).max() <= 2
    assert not np.array_equal(held[:, 1:], video[:, 4:7])  # noise of a later call is its own


def test_a_video_can_begin_with_a_picture(model):
    picture = np.full((1, 1, 16, 16, 3), 30, np.uint8)
    windows = AutoregressiveWindowConfig(overlap=1)
    video = generate_long(model, model.wishes(PROMPT), 7, windows=windows, begin_BTHWC=picture)
    assert np.abs(video[:, :1].astype(int) - 30).max() <= 2
    assert np.ptp(video[:, 1].astype(int)) > 10
    with pytest.raises(ConfigError, match="begins with 4 given latent frames; the first call covers 4"):
        generate_long(model, model.wishes(PROMPT), 7, windows=windows, begin_BTHWC=picture.repeat(4, axis=1))


def test_places_outside_a_box_are_held(model):
    video = np.random.default_rng(0).integers(0, 255, (1, 4, 1, 1, 3), np.uint8).repeat(16, 2).repeat(16, 3)
    mask = np.ones((1, 4, 4, 4))
    mask[:, :, 1:3, 1:3] = 0  # 8 px of 16
    made = model.generate(PROMPT, given=(video, mask))
    change = np.abs(made.astype(int) - video).max(axis=(0, 1, 4))
    outside = np.ones((16, 16), bool)
    outside[4:12, 4:12] = False
    assert change[outside].max() <= 2
    assert change[~outside].min() > 2
    with pytest.raises(ConfigError, match=r"mask has shape \(1, 3\); \(1, 4\) is allowed"):
        model.generate(PROMPT, given=(video, np.ones((1, 3))))


def test_a_long_video_depends_on_its_prompt_and_seed_alone(model):
    windows = HierarchicalWindowConfig(num_levels=1)
    together = generate_long(model, model.wishes(PROMPT * 2, [5, 6]), 10, windows=windows, batch_size=3)
    alone = generate_long(model, model.wishes(PROMPT, [6]), 10, windows=windows)
    assert np.abs(together[1].astype(int) - alone[0].astype(int)).max() <= 1


def test_fillers_make_what_lies_between(model):
    calls = []

    class Filler(type(model)):
        def latents(self, wishes, sampler, given=None, batch_size=16, call=None):
            assert given is not None
            calls.append(given.mask_BT1HW[:, :, 0, 0, 0].tolist())
            return super().latents(wishes, sampler, given, batch_size, call)

    filler = Filler(**vars(model))
    generate_long(model, model.wishes(PROMPT), 10, windows=HierarchicalWindowConfig(), fillers=[filler])
    assert calls == [[[1, 0, 0, 1]] * 3]


def test_fillers_may_be_longer_than_the_clips_of_key_frames(model, tiny, tmp_path):
    config = tiny(*FRAMES, "data.view.num_frames=5")

    class Five(MovingSquares):
        def batches(self, rank, world_size, position):
            for clips in super().batches(rank, world_size, position):
                yield replace(clips, video_BTHWC=clips.video[:, [0, 1, 2, 3, 3]])

    fit(config, tmp_path, source=Five())
    windows = HierarchicalWindowConfig(num_levels=1)  # keys 4 apart
    video = generate_long(model, model.wishes(PROMPT), 13, windows=windows, fillers=[load(tmp_path)])
    assert len({frame.tobytes() for frame in video[0]}) == 13


def test_a_network_that_never_saw_given_frames_cannot_go_on(tiny, squares, tmp_path):
    fit(tiny("budget.steps=1"), tmp_path, source=squares)
    blind = load(tmp_path)
    with pytest.raises(ConfigError, match="masks are none; stage 0 of the windows needs prediction or random"):
        generate_long(blind, blind.wishes(PROMPT), 20, windows=AutoregressiveWindowConfig())
    with pytest.raises(ConfigError, match="windows is single"):
        generate_long(blind, blind.wishes(PROMPT), 20)
    with pytest.raises(ConfigError, match="this model knows no frames"):
        blind.generate(PROMPT, given=(np.zeros((1, 4, 16, 16, 3), np.uint8), np.zeros((1, 2))))


def test_a_filler_with_another_codec_is_refused(model, tiny, squares, tmp_path):
    fit(tiny("budget.steps=1"), tmp_path, source=squares)
    with pytest.raises(ConfigError, match="the same codec and weights are needed"):
        generate_long(model, model.wishes(PROMPT), 10, windows=HierarchicalWindowConfig(), fillers=[load(tmp_path)])


def test_levels_that_were_never_trained_are_refused(model):
    config = with_overrides(model.config, ["given_level=0.3"])
    with pytest.raises(ConfigError, match=r"given_level is 0\.3; at most conditions\.frames\.perturb_max, 0\.2"):
        model.generate(PROMPT, sampler=config.sampler)


def test_overrides_change_sampler_and_windows(model):
    config = with_overrides(model.config, ["guidance=1.5", "kind=euler", "windows.kind=hierarchical"])
    assert (config.sampler.kind, config.sampler.guidance, config.sampler.steps) == ("euler", 1.5, 16)
    assert config.windows.kind == "hierarchical"
    assert with_overrides(model.config, ["steps=5"]).sampler.steps == 5
    with pytest.raises(ConfigError, match="did you mean guidance"):
        with_overrides(model.config, ["guidence=1"])
