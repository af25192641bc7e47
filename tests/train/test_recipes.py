"""The LVDM recipes: published sizes counted by arithmetic, and four stages chained on drawn clips."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import torch

from shards.config import load_config, preset_names
from train.config import TrainConfig
from train.data import Clips, ClipSource
from train.models.adm_unet import AdmUNetConfig
from train.models.autoencoder3d import VideoAutoencoderConfig
from train.network import build_network
from train.sample.generate import load
from train.trainer import fit

GROUP = "recipes/lvdm"


@pytest.mark.parametrize("name", preset_names(GROUP))
def test_every_recipe_loads_and_survives_a_round_trip(name):
    config = load_config(TrainConfig, name)
    assert TrainConfig.model_validate(config.resolved()) == config


def counted(config: TrainConfig, states_width: int = 0) -> dict[str, int]:
    """Parameters by the denoiser's parts, on the meta device."""
    view, codec = config.data.view, config.codec
    shape = (view.num_frames, 4, view.height // 8, view.width // 8)
    if isinstance(codec, VideoAutoencoderConfig):
        shape = (view.num_frames // codec.frames_per_latent, codec.latent_channels, *shape[2:])
    with torch.device("meta"):
        network = build_network(config, states_width, shape)
    parts = dict(network.named_children())
    return {name: sum(value.numel() for value in part.parameters()) for name, part in parts.items()}


def lvdm_unet(channels_in: int, temporal_length: int = 4) -> int:
    """The arithmetic of the published YAML: base 256, multiples 1-2-3-4, 3 blocks, attention at 8, 4, 2, 4 heads."""
    base, multiples, blocks, heads, embedding = 256, (1, 2, 3, 4), 3, 4, 4 * 256

    def conv(before: int, after: int, kernel: int = 9) -> int:
        return before * after * kernel + after

    def block(before: int, after: int) -> int:
        """Two norms, two 3x3 convolutions, scale and shift from the embedding, 1x1 where channels change."""
        skip = conv(before, after, 1) if before != after else 0
        return 2 * before + conv(before, after) + conv(embedding, 2 * after, 1) + 2 * after + conv(after, after) + skip

    def attention(width: int) -> int:
        """Over places and over time: norm, query-key-value, output; tables of relative keys and values once."""
        tables = 2 * (2 * temporal_length + 1) * width // heads
        return 2 * (2 * width + conv(width, 3 * width, 1) + conv(width, width, 1)) + tables

    total = conv(base, embedding, 1) + conv(embedding, embedding, 1) + conv(channels_in, base)
    skips, width = [base], base
    for level, multiple in enumerate(multiples):
        for _ in range(blocks):
            total += block(width, multiple * base) + (attention(multiple * base) if level else 0)
            width = multiple * base
            skips.append(width)
        if level < 3:
            total += conv(width, width)
            skips.append(width)
    total += 2 * block(width, width) + attention(width)
    for level in (3, 2, 1, 0):
        for _ in range(blocks + 1):
            total += block(width + skips.pop(), multiples[level] * base)
            width = multiples[level] * base
            total += attention(width) if level else 0
        total += conv(width, width) if level else 0
    return total + 2 * base + conv(base, 4)


def test_the_published_short_model_has_the_parameters_of_its_yaml():
    config = load_config(TrainConfig, f"{GROUP}/short")
    assert (
        sum(counted(config).values()) == lvdm_unet(channels_in=4) == 548_904_580
    )  # the released class counts the same


@pytest.mark.parametrize("name", ["prediction", "interpolation"])
def test_the_long_models_add_a_mask_channel_and_tell_the_level(name):
    """Released: 549,163,908 and 549,181,060, with a table of 251 levels of width 1,024 where ours is a small net.

    The interpolation's table of distances to +-5 has two rows that 5 frames never read: 2 x 2 of them in each of 22
    attentions, 17,152 parameters in all.
    """
    parts = counted(load_config(TrainConfig, f"{GROUP}/{name}"))
    assert parts["trunk"] + parts["level"] == lvdm_unet(channels_in=5)
    assert lvdm_unet(channels_in=5) + 251 * 1024 == 549_163_908
    assert lvdm_unet(channels_in=5, temporal_length=5) + 251 * 1024 == 549_181_060
    assert parts["signals"] == 64 * 1024 + 1024 + 1024 * 1024 + 1024


def test_the_text_to_video_model_has_the_parameters_of_the_released_one():
    parts = counted(load_config(TrainConfig, f"{GROUP}/text2video"), states_width=768)
    assert sum(parts.values()) == 958_924_964  # what the released class counts on the meta device


def test_the_stages_share_codec_trunk_and_mixer():
    names = [f"{GROUP}/{name}" for name in ("short", "prediction", "interpolation")]
    short, prediction, interpolation = (load_config(TrainConfig, name) for name in names)
    assert short.trunk == prediction.trunk == interpolation.trunk == AdmUNetConfig(norm_over="clip")
    assert short.mixer == prediction.mixer == interpolation.mixer
    assert short.codec == prediction.codec == interpolation.codec


class Drawn(ClipSource):
    """Noise clips of 32x32 with a caption, as many frames as asked."""

    def __init__(self, num_frames: int) -> None:
        self.num_frames = num_frames

    def captions(self) -> list[str]:
        return ["a red square moves left"]

    def batches(self, rank: int, world_size: int, position: Mapping[str, Any] | None) -> Iterator[Clips]:
        step = position["step"] if position else 0
        while True:
            video = np.random.default_rng(step).integers(0, 256, (2, self.num_frames, 32, 32, 3), dtype=np.uint8)
            step += 1
            yield Clips(torch.from_numpy(video), [*self.captions() * 2], [0, 1], ["a", "b"], step, {"step": step})


def test_the_toy_stages_chain_each_from_the_weights_of_the_one_before(tmp_path):
    small = ("device=cpu", "precision=fp32", "codec.width=8", "metrics.tensorboard=false")
    codec = f"codec.weights={tmp_path / 'autoencoder'}"
    stages = {
        "autoencoder": (16, ("codec.training.steps=2", "codec.training.adversarial.start_step=1")),
        "short": (16, (codec, "latents.num_batches=1")),
        "prediction": (16, (codec, f"start.path={tmp_path / 'short'}")),
        "interpolation": (20, (codec, f"start.path={tmp_path / 'prediction'}")),
    }
    enter = {}
    for name, (num_frames, overrides) in stages.items():
        narrow = () if name == "autoencoder" else ("trunk.channels=[8, 16]",)
        config = load_config(TrainConfig, f"{GROUP}/toy_{name}", (*small, *narrow, *overrides, "budget.steps=1"))
        fit(config, tmp_path / name, source=Drawn(num_frames))
        if name != "autoencoder":
            enter[name] = load(tmp_path / name, averaged=False).network.state_dict()["trunk.enter.weight"]
    assert [weight.shape[1] for weight in enter.values()] == [24, 25, 25]  # latent, layout, then the mask besides
    step = (enter["prediction"][:, :24] - enter["short"]).abs().max()
    assert step < 0.01  # one optimiser step away, not drawn anew
    assert (enter["interpolation"] - enter["prediction"]).abs().max() < 0.01
