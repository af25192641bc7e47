"""What trains, from where, and low-rank updates."""

from typing import TypeGuard

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from shards.config import parse_config
from shards.errors import ConfigError
from tests.train.moving_square import MovingSquares
from train import checkpoint
from train.config import TrainConfig
from train.network import build_network
from train.parameters.lora import LowRank, add_lora, merge_lora, merged
from train.parameters.policy import (
    AllParametersConfig,
    LoraParametersConfig,
    NewParametersConfig,
    ParameterGroupConfig,
    PatternsParametersConfig,
    choose,
    lr_scales,
)
from train.parameters.start import StartConfig, load_start, new_names
from train.plan import describe_model
from train.sample.generate import load
from train.tensor_files import read
from train.trainer import fit

NAMES = ["text.words", "trunk.down.0.space.conv", "trunk.down.0.time.first", "trunk.up.0.time.last"]
LATENT = (4, 60, 4, 4)


def patterns(*groups: tuple[str, float], freeze: tuple[str, ...] = ()) -> PatternsParametersConfig:
    return PatternsParametersConfig(
        groups=tuple(ParameterGroupConfig(pattern=pattern, lr_scale=scale) for pattern, scale in groups), freeze=freeze
    )


def test_the_first_pattern_that_fits_gives_the_factor():
    policy = patterns(("*.time.*", 1.0), ("trunk.*", 0.1), freeze=("trunk.up.*",))
    assert lr_scales(policy, NAMES) == {NAMES[1]: 0.1, NAMES[2]: 1.0}


def test_only_what_is_new_trains_and_what_is_named_besides():
    assert list(lr_scales(NewParametersConfig(), NAMES, {NAMES[3]})) == [NAMES[3]]
    assert list(lr_scales(NewParametersConfig(also=("text.*",)), NAMES, {NAMES[3]})) == [NAMES[0], NAMES[3]]


def test_a_pattern_that_fits_nothing_is_refused():
    with pytest.raises(ConfigError, match=r"'\*\.tmie\.\*'; it fits none of 4 names"):
        lr_scales(patterns(("*.tmie.*", 1.0)), NAMES)
    with pytest.raises(ConfigError, match="leaves nothing of 4 to train"):
        lr_scales(AllParametersConfig(freeze=("*",)), NAMES)
    with pytest.raises(ConfigError, match="leaves nothing of 4 to train"):
        lr_scales(NewParametersConfig(), NAMES)


def test_new_without_a_start_is_refused():
    with pytest.raises(ConfigError, match="start is null, so everything is new"):
        parse_config(TrainConfig, {"parameters": {"kind": "new"}})


def test_frozen_parameters_get_no_gradient():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    assert list(choose(AllParametersConfig(freeze=("0.*",)), model)) == ["1.weight", "1.bias"]
    assert [parameter.requires_grad for parameter in model.parameters()] == [False, False, True, True]


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Flatten(), nn.Linear(16, 5))


def is_update(module: nn.Module) -> TypeGuard[LowRank]:
    return isinstance(module, LowRank)


def test_an_update_is_nothing_at_the_start_and_a_product_of_low_rank_after():
    network, x = small(), torch.randn(2, 3, 2, 2)
    before, weight = network(x), network.get_parameter("2.weight").detach().clone()
    add_lora(LoraParametersConfig(rank=2, alpha=6.0, targets=("0", "2")), network)
    assert torch.equal(network(x), before)
    update = next(module for name, module in network.named_modules() if name.startswith("2") and is_update(module))
    update.lora_up.data.normal_()
    change = network.get_parameter("2.parametrizations.weight.original") - weight
    assert change.abs().max() == 0
    change = update(weight) - weight
    assert torch.allclose(change, 3 * update.lora_up @ update.lora_down, atol=1e-6)  # alpha / rank is 3
    assert torch.linalg.matrix_rank(change) == 2


def test_merging_keeps_the_function_and_gives_back_the_names():
    network, names = small(), list(small().state_dict())
    config = LoraParametersConfig(rank=2, targets=("0", "2"))
    add_lora(config, network)
    for name, parameter in network.named_parameters():
        if "lora_up" in name:
            parameter.data.normal_()
    x = torch.randn(2, 3, 2, 2)
    before, tensors = network(x), merged(network.state_dict(), config)
    merge_lora(network)
    assert sorted(network.state_dict()) == sorted(names)
    assert (network(x) - before).abs().max() < 1e-5
    assert all(torch.allclose(tensors[name], value, atol=1e-6) for name, value in network.state_dict().items())


def test_lora_trains_updates_alone_and_samples_merged(tiny, squares, tmp_path):
    config = tiny(
        "parameters={kind: lora, rank: 2, targets: ['trunk.*'], also: ['trunk.leave.bias']}", "budget.steps=3"
    )
    folder = fit(config, tmp_path, source=squares).checkpoint
    tensors, averages = (read(folder, name) for name in ("model", "ema"))
    assert all("lora_" in name or name == "trunk.leave.bias" for name in averages)
    assert any(value.abs().max() > 0 for name, value in tensors.items() if name.endswith("lora_up"))
    assert describe_model(config, 10)["parameters_trained"] == sum(value.numel() for value in averages.values())
    assert not any("parametrizations" in name for name in load(tmp_path).network.state_dict())


def test_lora_on_what_has_no_matrix_is_refused():
    with pytest.raises(ConfigError, match=r"'trunk\.norm'; it fits none of 2 modules"):
        add_lora(LoraParametersConfig(targets=("trunk.norm",)), small())


@pytest.fixture
def image_run(tiny, tmp_path):
    """A network without mixers, trained a little; its input has no masks."""
    config = tiny("mixer.kind=none", "trunk.middle_attention=false", "codec={kind: transform, haar_frames: 1}")
    fit(config, tmp_path / "image", source=MovingSquares())
    return tmp_path / "image"


INFLATED = ("codec={kind: transform, haar_frames: 1}", "trunk.middle_attention=false", "conditions.frames={}")


def test_an_inflated_network_is_the_image_network_on_each_frame_at_the_start(tiny, image_run):
    image = load(image_run)
    start = StartConfig(path=str(image_run), new=("*.time.*",))
    config = tiny(*INFLATED)
    network = build_network(config, len(image.frozen.vocabulary), image.frozen.latent_TCHW)
    new = load_start(start, network, config.trunk)
    assert new == new_names(start, network) == {name for name, _ in network.named_parameters() if ".time." in name}
    torch.manual_seed(1)
    x, t, words = torch.randn(2, *image.frozen.latent_TCHW), torch.rand(2, 4), torch.randint(2, 6, (2, 5))
    maps = torch.rand(2, 4, 1, 4, 4)  # masks are seen with weight zero
    with torch.no_grad():
        expected = image.network(x, t, words)
        found = network(x, t, words, {"maps_BTCHW": maps})
    assert expected.abs().max() > 0.01
    assert (found - expected).abs().max() < 1e-6  # more input channels round differently


def test_only_mixers_train_in_a_run_that_starts_from_an_image_network(tiny, image_run, tmp_path):
    start = f"start={{path: {image_run}, new: ['*.time.*']}}"
    config = tiny(*INFLATED, start, "parameters.kind=new", "budget.steps=2")
    trained = read(fit(config, tmp_path / "video", source=MovingSquares()).checkpoint, "model")
    image = read(checkpoint.find(image_run), "model") | read(checkpoint.find(image_run), "ema")
    for name, value in image.items():
        ours = trained[name][:, : value.shape[1]] if name == "trunk.enter.weight" else trained[name]
        assert torch.equal(ours, value), name
    assert any(trained[name].abs().max() > 0 for name in trained if name.endswith("time.last.weight"))
    scale = read(checkpoint.find(image_run), "latents")
    kept = read(checkpoint.find(tmp_path / "video"), "latents")
    assert all(torch.equal(scale[name], kept[name]) for name in scale)  # the scale of latents goes with the weights


def test_a_start_that_does_not_fit_says_what_is_missing_and_left(tiny, image_run, tmp_path):
    network = build_network(tiny(*INFLATED), 9, LATENT)
    with pytest.raises(ConfigError, match=r"lacks \d+ tensors \(trunk\.down\.0\.time"):
        load_start(StartConfig(path=str(image_run)), network, tiny().trunk)
    save_file({"a.strange.tensor": torch.zeros(1)}, tmp_path / "file.safetensors")
    strange = StartConfig(path=str(tmp_path / "file.safetensors"), new=("*",))
    with pytest.raises(ConfigError, match=r"has 1 without a place \(a\.strange\.tensor\)"):
        load_start(strange, network, tiny().trunk)
    assert len(load_start(strange.model_copy(update={"unused": ("a.*",)}), network, tiny().trunk)) > 10
    save_file({"trunk.leave.bias": torch.zeros(3)}, tmp_path / "file.safetensors")
    with pytest.raises(ConfigError, match=r"trunk\.leave\.bias of shape \(3,\)"):
        load_start(strange, network, tiny().trunk)
    with pytest.raises(ConfigError, match=r"layout is lvdm with trunk unet2d"):
        load_start(strange.model_copy(update={"layout": "lvdm"}), network, tiny().trunk)


def test_a_start_with_another_codec_is_refused(tiny, image_run, tmp_path):
    config = tiny("trunk.middle_attention=false", f"start={{path: {image_run}, new: ['*.time.*']}}")
    with pytest.raises(ConfigError, match=r"codec differs from that of start\.path"):
        fit(config, tmp_path / "video", source=MovingSquares())
