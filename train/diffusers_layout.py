"""Our U-Net in diffusers' layout: which configs are a UNet3DConditionModel, its config, and its tensors.

B = clips, T = latent frames, L = tokens of text, D = their width.
"""

from typing import Any

import torch
from torch import Tensor, nn

from shards.errors import ConfigError
from train.config import TrainConfig
from train.models.adm_unet import AdmUNetConfig
from train.models.denoiser import VideoDenoiser
from train.models.foreign_unets import diffusers_names, renamed
from train.models.sites import Conditioning
from train.models.temporal import BySiteConfig
from train.models.temporal_attention import TransformerMixerConfig
from train.models.temporal_conv import ConvStackMixerConfig

ENTER_HEADS = 8  # of transformer_in, fixed in diffusers


def why_not(config: TrainConfig) -> str | None:
    """What has no place in diffusers' UNet3DConditionModel; None if all has one."""
    trunk, mixer, conditions = config.trunk, config.mixer, config.conditions
    if not isinstance(trunk, AdmUNetConfig):
        return f"trunk is {trunk.kind}; adm_unet is allowed"
    needed = {"attention": "transformer", "modulation": "add", "norm_over": "frame"}
    for name, value in needed.items():
        if getattr(trunk, name) != value:
            return f"trunk.{name} is {getattr(trunk, name)}; {value} is allowed"
    if trunk.head_width is None:
        return "trunk.head_width is null; one width of heads at all levels is allowed"
    if conditions.text is None or conditions.text.injection != "cross_attention":
        return f"conditions.text is {conditions.text and conditions.text.injection}; cross_attention is allowed"
    if conditions.classes or conditions.scores:
        return "conditions tell classes or scores; text and frames are allowed"
    if conditions.frames and conditions.frames.level_embedding != "none":
        return f"conditions.frames.level_embedding is {conditions.frames.level_embedding}; none is allowed"
    if not isinstance(mixer, BySiteConfig):
        return f"mixer is {mixer.kind}; by_site is allowed"
    return _why_not_mixer(mixer, trunk)


def _why_not_mixer(mixer: BySiteConfig, trunk: AdmUNetConfig) -> str | None:
    width, groups = trunk.head_width, trunk.norm_groups
    allowed = {
        "enter": TransformerMixerConfig(
            num_heads=ENTER_HEADS, head_width=width, norm_groups=groups, positions="none", num_layers=1
        ),
        "block": ConvStackMixerConfig(kernel=3, num_layers=4, norm_groups=groups),
        "attention": TransformerMixerConfig(
            num_heads=None, head_width=width, norm_groups=groups, positions="none", num_layers=1
        ),
    }
    for site, theirs in allowed.items():
        ours = getattr(mixer, site)
        free = {name: getattr(ours, name) for name in ("init", "max_distance") if hasattr(ours, name)}
        if ours != theirs.model_copy(update=free):  # these say nothing of what it computes
            return f"mixer.{site} is {ours}; {theirs} is allowed"
    return None if mixer.inner.kind == "none" else f"mixer.inner is {mixer.inner.kind}; none is allowed"


def unet3d_config(config: TrainConfig, network: VideoDenoiser, latent_TCHW: tuple[int, ...]) -> dict[str, Any]:
    """Arguments of UNet3DConditionModel for a config that `why_not` allows."""
    trunk = config.trunk
    assert isinstance(trunk, AdmUNetConfig)
    assert network.text is not None
    attends = [level in trunk.attention_levels for level in range(len(trunk.channels))]
    down = tuple("CrossAttnDownBlock3D" if attending else "DownBlock3D" for attending in attends)
    up = tuple("CrossAttnUpBlock3D" if attending else "UpBlock3D" for attending in reversed(attends))
    return {
        "sample_size": latent_TCHW[-1],
        "in_channels": latent_TCHW[1] + network.map_channels,
        "out_channels": latent_TCHW[1],
        "down_block_types": down,
        "up_block_types": up,
        "block_out_channels": tuple(trunk.channels),
        "layers_per_block": trunk.blocks_per_level,
        "norm_num_groups": trunk.norm_groups,
        "cross_attention_dim": network.text.width,
        "attention_head_dim": trunk.head_width,
    }


def to_unet3d(config: TrainConfig, network: VideoDenoiser, latent_TCHW: tuple[int, ...]) -> nn.Module:
    """The level embedding and trunk of a network as a UNet3DConditionModel.

    Its timestep is 1000 times our level, one per clip; its states of text are what our text encoder gives.

    Raises:
        ConfigError: the layout has no place for the network, or diffusers is not installed.
    """
    reason = why_not(config)
    if reason is not None:
        raise ConfigError(f"{reason} in diffusers' layout; change it before training, or export layout reelmill")
    try:
        from diffusers.models.unets.unet_3d_condition import UNet3DConditionModel
    except ImportError as error:
        raise ConfigError("layout is diffusers; it needs diffusers; pip install reelmill[pretrained]") from error
    assert isinstance(config.trunk, AdmUNetConfig)
    unet: nn.Module = UNet3DConditionModel(**unet3d_config(config, network, latent_TCHW))
    unet.load_state_dict(renamed(network, diffusers_names(config.trunk), unet.state_dict()))
    return unet.eval()


@torch.no_grad()
def largest_difference(
    network: VideoDenoiser, unet: Any, latent_TCHW: tuple[int, ...], num_words: int, seed: int = 0
) -> float:
    """Largest absolute difference of both networks' outputs on two random clips, levels and texts."""
    assert network.text is not None
    draw = torch.Generator().manual_seed(seed)
    frames, channels, height, width = latent_TCHW
    x_BTCHW = torch.randn(2, frames, channels + network.map_channels, height, width, generator=draw)
    steps_B = torch.tensor([3.0, 700.0])
    words_BLD = torch.randn(2, num_words, network.text.width, generator=draw)
    theirs_BCTHW: Tensor = unet(x_BTCHW.transpose(1, 2), steps_B, words_BLD).sample
    film_BTD = network.level((steps_B / 1000)[:, None].expand(-1, frames))
    x_NCHW = x_BTCHW.flatten(0, 1).contiguous(memory_format=torch.channels_last)
    ours_NCHW: Tensor = network.trunk(x_NCHW, Conditioning(film_BTD.flatten(0, 1), words_BLD, frames))
    return float((ours_NCHW.unflatten(0, (2, frames)).transpose(1, 2) - theirs_BCTHW).abs().max())
