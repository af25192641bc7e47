import numpy as np
import pytest

from shards.errors import ConfigError
from train.sample.generate import generate, load
from train.trainer import fit

PROMPTS = ["a red square moves left", "a blue square moves right", "a red square moves right"]


@pytest.fixture
def run(tiny, squares, tmp_path):
    fit(tiny("budget.steps=3"), tmp_path, source=squares)
    return tmp_path


def test_prompts_become_videos(run):
    videos = generate(run, PROMPTS)
    assert videos.shape == (3, 4, 16, 16, 3)
    assert videos.dtype == np.uint8


def test_a_video_depends_on_its_prompt_and_seed_alone(run):
    model = load(run)
    together = model.generate(PROMPTS, [5, 6, 7], batch_size=2)
    alone = model.generate(PROMPTS[1:2], [6])
    assert np.abs(together[1].astype(int) - alone[0].astype(int)).max() <= 1  # batches round differently
    assert not np.array_equal(model.generate(PROMPTS[:1], [1]), model.generate(PROMPTS[:1], [2]))


def test_the_average_and_the_last_weights_are_two_models(run):
    assert not np.array_equal(load(run).generate(PROMPTS[:1]), load(run, averaged=False).generate(PROMPTS[:1]))


def test_a_word_never_seen_is_named(run):
    with pytest.raises(ConfigError, match=r"unknown words \['purple'\]; known are a, moves, square"):
        generate(run, ["a purple square moves left"])


def test_seeds_must_fit_prompts(run):
    with pytest.raises(ConfigError, match="seeds are 1"):
        generate(run, PROMPTS, [1])


def test_ancestral_sampling_draws_from_the_seed_too(run):
    model = load(run)
    sampler = model.config.sampler.model_copy(update={"eta": 1.0, "steps": 4})
    first, second = (model.generate(PROMPTS[:1], [3], sampler) for _ in range(2))
    assert np.array_equal(first, second)
