"""Every preset that ships can be loaded and, where it is a curation, proved."""

import pytest

from curate.config import load_curate_config
from curate.pipeline import Pipeline
from shards.config import load_config, preset_names
from train.config import TrainConfig


@pytest.mark.parametrize("name", preset_names("curate"))
def test_curation_presets_build_a_proved_pipeline(name: str):
    pipeline = Pipeline.of(load_curate_config(name))
    assert [step["name"] for step in pipeline.steps()][-1] == "pack"
    assert {rule.name for rule in [*pipeline.video_rules, *pipeline.clip_rules]} == set(pipeline.config.keep)


@pytest.mark.parametrize("name", [*preset_names("train"), *preset_names("recipes/lvdm")])
def test_training_presets_load_and_survive_a_round_trip(name: str):
    config = load_config(TrainConfig, name)
    assert TrainConfig.model_validate(config.resolved()) == config


def test_the_presets_that_the_docs_name_are_there():
    assert {"curate/scan_only", "curate/toyworld", "curate/web_video"} <= set(preset_names("curate"))
    assert "train/toyworld" in preset_names("train")
    stages = ("autoencoder", "short", "prediction", "interpolation")
    assert {f"recipes/lvdm/{size}{stage}" for size in ("", "toy_") for stage in stages} <= set(
        preset_names("recipes/lvdm")
    )
