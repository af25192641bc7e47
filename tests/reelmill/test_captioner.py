from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from curate.models.caption import Caption, CaptionConfig
from curate.models.weights import ModelRef
from reelmill.toyworld.captioner import CaptionerConfig, score_captioner, train_captioner
from reelmill.toyworld.captioner_clips import captioned_pictures, sample_times
from reelmill.toyworld.captioner_network import NUM_QUERY_TOKENS, build_model, build_processor
from reelmill.toyworld.captioner_score import unseen_clips
from reelmill.toyworld.oracle import CHANCE
from reelmill.toyworld.world import combinations, parse_caption

SHORT = CaptionerConfig(num_clips=288, num_steps=150)


@pytest.fixture(scope="module")
def barely_trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[float]]:
    folder, losses = tmp_path_factory.mktemp("captioner"), []
    train_captioner(folder, SHORT, lambda step, loss: losses.append(loss))
    return folder, losses


def test_training_clips_name_every_combination_and_some_stills():
    clips = list(captioned_pictures(192, seed=3))
    assert {picture_HWC.shape for picture_HWC, _ in clips} == {(64, 64, 3)}
    named = Counter(parse_caption(caption) for _, caption in clips)
    assert 1 <= named.pop(None) <= 20
    assert set(named) <= set(combinations())
    assert len(named) > 90
    again = list(captioned_pictures(4, seed=3))
    np.testing.assert_array_equal(again[3][0], clips[3][0])


def test_a_scan_samples_the_first_frame_at_or_after_each_multiple_of_the_interval():
    times_T = sample_times(np.random.default_rng(0), clip_s=2.4, interval_s=0.25, rate=12.0)
    frames_T = times_T * 12
    np.testing.assert_allclose(frames_T, np.round(frames_T))
    assert 9 <= len(times_T) <= 10
    assert set(np.round(np.diff(frames_T))) == {3}
    crowded_T = sample_times(np.random.default_rng(0), clip_s=1.0, interval_s=0.1, rate=5.0)
    assert np.all(np.diff(crowded_T) > 0.19)


def test_the_network_is_a_tiny_blip2_whose_picture_tokens_agree_with_its_processor():
    processor = build_processor()
    model = build_model(processor)
    assert type(model).__name__ == "Blip2ForConditionalGeneration"
    assert 200_000 < sum(parameter.numel() for parameter in model.parameters()) < 400_000
    inputs = processor(images=[np.zeros((64, 64, 3), np.uint8)], text=[""], return_tensors="pt")  # pyright: ignore[reportCallIssue]
    assert inputs["input_ids"].tolist() == [[model.config.image_token_index] * NUM_QUERY_TOKENS]
    assert inputs["pixel_values"].shape == (1, 3, 64, 64)
    assert model.query_tokens.std() > 0.05


def test_150_steps_learn_the_form_of_a_sentence_and_the_colours(barely_trained: tuple[Path, list[float]]):
    folder, losses = barely_trained
    assert len(losses) == 150
    assert np.mean(losses[-5:]) < 0.25 * losses[0]
    scores = score_captioner(folder, num_clips=60)
    assert scores["colour"] > 3 * CHANCE["colour"]
    assert scores["clips"] == 60
    assert 0 <= scores["joint"] <= min(scores["colour"], scores["kind"], scores["direction"]) <= 1


def test_the_same_seed_trains_the_same_weights(tmp_path: Path):
    config = CaptionerConfig(num_clips=96, num_steps=3)
    for name in ("first", "again"):
        train_captioner(tmp_path / name, config)
    first, again = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("first", "again"))
    assert first == again


def test_the_saved_folder_loads_in_the_ordinary_caption_stage(barely_trained: tuple[Path, list[float]]):
    config = CaptionConfig(
        source="model",
        model=ModelRef(path=str(barely_trained[0])),
        layout="grid_motion",
        tile_px=32,
        max_new_tokens=8,
    )
    stage = Caption(config)
    stage.open()
    pictures = [picture_HWC for picture_HWC, _ in captioned_pictures(2, seed=9)]
    for found in stage.infer(pictures):
        assert isinstance(found, dict)
        assert str(found["caption"]).startswith("a ")


def test_scoring_draws_the_wanted_number_of_unseen_clips_of_all_combinations(tmp_path: Path):
    clips = list(unseen_clips(tmp_path, 5, seed=1))
    assert len(clips) == 5
    assert all(picture_HWC.shape == (64, 64, 3) for picture_HWC, _ in clips)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_toy_captioner_names_at_least_nine_in_ten_of_300_unseen_clips_right(tmp_path: Path):
    train_captioner(tmp_path)
    scores = score_captioner(tmp_path, num_clips=300)
    assert scores["clips"] == 300
    assert min(scores["colour"], scores["kind"], scores["direction"]) >= 0.9
