"""Every shipped preset loads, and no leaf of the configuration is accepted and then ignored."""

import sys
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic import model_validator

from shards.config import Config, load_config, preset_names
from shards.errors import ConfigError
from train.config import DataConfig, TrainConfig
from train.plan import describe_model
from train.sample.generate import load
from train.sample.long import generate_long
from train.trainer import fit

VIDEO_CODEC = (
    "codec={kind: video_autoencoder, width: 4, norm_groups: 4, frames_per_latent: 2, pixels_per_latent: 4, "
    "training: {steps: 2, adversarial: {start_step: 1, discriminator: {width: 8, num_layers: 1}}}}"
)
ADM = "kind: adm_unet, channels: [8, 16], blocks_per_level: 1, attention_levels: [1], norm_groups: 4"
# Together these runs pass through every value of every primitive that has leaves of its own.
RUNS = [
    (
        "budget.seconds=1000",
        "metrics.tensorboard=true",
        "metrics.mfu=true",
        "previews={every_steps: 1, prompts: [a red square moves left]}",
        "sampler={kind: ddim, eta: 0.5, spacing: leading}",
    ),
    (
        "codec={kind: autoencoder, latent_channels: 4, width: 8, num_blocks: 1, steps: 2}",
        "mixer={kind: attention, num_heads: 2}",
        "objective={target: eps, schedule: {kind: scaled_linear}, weight: {kind: min_snr}}",
        "conditions.text.injection=cross_attention",
        "noise_prior.kind=mixed",
    ),
    (
        "mixer={kind: none}",
        "objective={target: v, schedule: {kind: cosine}, timesteps: {kind: uniform}}",
        "noise_prior.kind=progressive",
        "conditions.frames={}",
    ),
    (
        "optim.hidden=muon",
        "noise_prior.kind=base_residual",
        "objective={target: eps, schedule: {kind: linear}, timesteps: {kind: mode}, error: l1}",
        "objective.weight.kind=uniform",
        "sampler={kind: ddpm, variance: large, spacing: leading}",
    ),
    (
        "data.view.score_columns=[kind, motion]",
        "codec={kind: transform, haar_frames: 1}",
        "conditions={classes: {column: kind, num_classes: 2}, drop_all: 0.1}",
        "conditions.scores=[{column: motion, low: 0, high: 1}]",
        "conditions.frames={masks: [{kind: prediction}, {kind: interpolation}, {kind: inpainting}, {kind: random}]}",
        "conditions.frames.level_embedding=label",
        "conditions.frames.perturb_max=0.2",
        "sampler={kind: euler, guidance: [{weight: 1.1}, {weight: -0.1, drop: [frames]}]}",
        "windows={kind: hierarchical}",
        "parameters={kind: patterns, groups: [{pattern: '*'}]}",
    ),
    (
        "conditions.text=null",
        "conditions.frames={injection: concat, masks: [{kind: inpainting, weight: 1000}, {kind: prediction}]}",
        "sampler={kind: ddpm, steps: 2}",
        "parameters={kind: lora}",
        "windows={kind: autoregressive}",
    ),
    (VIDEO_CODEC,),
    (
        f"trunk={{{ADM}, num_heads: null, head_width: 8, attention: transformer, modulation: add, norm_over: clip}}",
        "mixer={kind: by_site, enter: {kind: conv_stack, num_layers: 2, norm_groups: 4}, block: {kind: shift}, "
        "attention: {kind: transformer, head_width: 4, norm_groups: 4, positions: bias}, inner: {kind: conv}}",
        "conditions.text.injection=cross_attention",
    ),
    (
        f"trunk={{{ADM}, num_heads: 2}}",
        "mixer={kind: attention, num_heads: null, head_width: 4, norm: group, norm_groups: 4, positions: relative, "
        "window: 2, causal: true}",
    ),
]


@pytest.mark.parametrize("name", preset_names("train"))
def test_every_preset_loads_and_its_network_can_be_built(name):
    config = load_config(TrainConfig, name)
    assert describe_model(config, 16)["parameters"] > 0


def test_an_unknown_key_is_refused_with_its_neighbour(tiny):
    with pytest.raises(ConfigError, match="did you mean learning_rate"):
        tiny("optim.lerning_rate=1")


def test_padding_is_refused(tiny):
    with pytest.raises(ConfigError, match="drop is allowed in training"):
        tiny("data.plan.tail=pad")


def test_every_leaf_of_the_configuration_is_read(tiny, squares, tmp_path, monkeypatch):
    earlier = f"start={{path: {tmp_path / '0'}, new: ['*.time.*'], unused: ['*.time.*']}}"
    runs = [*RUNS, ("mixer.kind=shift", earlier, "parameters={kind: new, also: ['text.*']}")]
    configs = [tiny("budget.steps=1", *overrides) for overrides in runs]
    read = record_reads(monkeypatch)
    for index, config in enumerate(configs):
        fit(config, tmp_path / str(index), source=squares)
        model = load(tmp_path / str(index))
        frames = config.data.view.num_frames if config.windows.kind == "single" else 6
        generate_long(model, model.wishes(["a red square moves left"]), frames)
    monkeypatch.undo()
    of_shards = ("ViewConfig", "PlanConfig", "PartConfig", "ReadingConfig", "ChildLimits", "CacheConfig")
    # Pretrained parts need files from elsewhere: their leaves are read in tests/train/models and autoencoding.
    elsewhere = ("PretrainedTextConfig", "LpipsConfig", "TaesdConfig", "DiffusersVaeConfig")
    declared = {leaf for leaf in leaves(TrainConfig) if leaf[0] not in (*of_shards, *elsewhere)}
    source_only = {("DataConfig", name) for name in ("uri", "version", "mix", "num_workers", "read")} | {
        ("MetricsConfig", name) for name in ("by_columns", "by_sources")
    }  # see test_data.py
    assert declared - source_only - read == set()


def record_reads(monkeypatch) -> set[tuple[str, str]]:
    """(class, field) of every field read from now on; what a validator reads, to refuse or to compare, is no use."""
    read: set[tuple[str, str]] = set()
    plain = Config.__getattribute__

    def recording(self: Config, name: str) -> Any:
        if name in type(self).model_fields:
            decorators = plain(self, "__pydantic_decorators__")
            if sys._getframe(1).f_code.co_name not in decorators.model_validators:
                read.add((type(self).__name__, name))
        return plain(self, name)

    monkeypatch.setattr(Config, "__getattribute__", recording)
    return read


def test_storing_comparing_and_validating_are_no_reading(monkeypatch):
    class Checked(Config):
        low: int = 0
        high: int = 1

        @model_validator(mode="after")
        def _rises(self) -> "Checked":
            assert self.low < self.high
            return self

    read = record_reads(monkeypatch)
    config = Checked(low=0, high=3)
    assert config == Checked.model_validate(config.resolved())
    assert "high" in config.to_yaml() + repr(config)
    hash(config.model_copy())
    assert read == set()
    assert config.high == 3
    assert read == {("Checked", "high")}


def test_the_recorder_would_see_a_dead_leaf():
    class Dead(TrainConfig):
        nothing: int = 0

    assert ("Dead", "nothing") in set(leaves(Dead))
    assert ("TrainConfig", "resampler") not in set(leaves(TrainConfig))  # one value is no option
    assert ("DataConfig", "num_workers") in set(leaves(DataConfig))


def leaves(model: type[Config]) -> Iterator[tuple[str, str]]:
    """(class, field) of every leaf below a model that has more than one possible value."""
    for name, field in model.model_fields.items():
        below = [
            found for found in flattened(field.annotation) if isinstance(found, type) and issubclass(found, Config)
        ]
        for child in below:
            yield from leaves(child)
        only_one = get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1
        if not below and not only_one:
            yield model.__name__, name


def flattened(annotation: Any) -> list[Any]:
    """An annotation and everything in its brackets."""
    return [annotation, *(found for part in get_args(annotation) for found in flattened(part))]
