"""Parity with independent implementations by copied weights. A path to a checkout runs the ones that no wheel has."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from shards.errors import ContractError
from train.models.adm_unet import AdmUNetConfig
from train.models.foreign_unets import diffusers_names, load_renamed, lvdm_names, renamed, split_query
from train.models.sites import Conditioning
from train.models.temporal import BySiteConfig, NoMixerConfig
from train.models.temporal_attention import AttentionMixerConfig, TransformerMixerConfig
from train.models.temporal_conv import ConvStackMixerConfig
from train.models.text import LevelEmbedding
from train.models.trunk import build_trunk

SMALL = AdmUNetConfig(
    channels=(16, 32, 32),
    blocks_per_level=1,
    attention_levels=(0, 1),
    attention="transformer",
    modulation="add",
    num_heads=None,
    head_width=8,
    norm_groups=8,
)
TIME = TransformerMixerConfig(num_heads=None, head_width=8, norm_groups=8, positions="none")
MODELSCOPE = BySiteConfig(
    enter=TransformerMixerConfig(num_heads=8, head_width=8, norm_groups=8, positions="none"),
    block=ConvStackMixerConfig(norm_groups=8),
    attention=TIME,
)
B, T, TEXT = 2, 4, 12


class Net(nn.Module):
    """What a denoiser holds of a U-Net: level embedding and trunk."""

    def __init__(self, config: AdmUNetConfig, mixer, text_width: int) -> None:
        super().__init__()
        self.level = LevelEmbedding(config.modulation_width, config.level_features)
        self.trunk = build_trunk(config, mixer, 4, 4, text_width)

    def forward(self, x_BCTHW: torch.Tensor, steps_B: torch.Tensor, words_BLD: torch.Tensor | None) -> torch.Tensor:
        frames = x_BCTHW.shape[2]
        film_BTD = self.level((steps_B / 1000)[:, None].expand(-1, frames))
        x_NCHW = x_BCTHW.transpose(1, 2).flatten(0, 1).contiguous(memory_format=torch.channels_last)
        given = Conditioning(film_BTD.flatten(0, 1), words_BLD, frames)
        return self.trunk(x_NCHW, given).unflatten(0, (-1, frames)).transpose(1, 2)


def drawn(network: nn.Module) -> nn.Module:
    """Weights of every layer drawn, those that start at zero too."""
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        scale = 1 / max(parameter[0].numel(), 8) ** 0.5
        parameter.data = parameter.data * 0.5 + scale * torch.randn(parameter.shape, generator=generator).to(parameter)
    return network.eval()


def unet3d() -> nn.Module:
    diffusers = pytest.importorskip("diffusers")
    return drawn(
        diffusers.UNet3DConditionModel(
            sample_size=8,
            block_out_channels=SMALL.channels,
            down_block_types=("CrossAttnDownBlock3D", "CrossAttnDownBlock3D", "DownBlock3D"),
            up_block_types=("UpBlock3D", "CrossAttnUpBlock3D", "CrossAttnUpBlock3D"),
            layers_per_block=1,
            cross_attention_dim=TEXT,
            attention_head_dim=8,
            norm_num_groups=8,
        )
    )


def inputs(dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    x_BCTHW = torch.randn(B, 4, T, 8, 8, generator=generator, dtype=dtype)
    return x_BCTHW, torch.tensor([3, 700]), torch.randn(B, 5, TEXT, generator=generator, dtype=dtype)


@torch.no_grad()
def test_the_whole_net_is_diffusers_unet3d_by_copied_weights():
    theirs, ours = unet3d(), Net(SMALL, MODELSCOPE, TEXT).eval()
    load_renamed(ours, theirs.state_dict(), diffusers_names(SMALL))
    x, steps, words = inputs()
    difference = (ours(x, steps, words) - theirs(x, steps, words).sample).abs().max()
    assert difference <= 1e-5
    assert ours(x, steps, words).std() > 0.1  # not a net that says nothing
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())


def test_weights_go_to_our_names_and_back_to_the_bit():
    theirs, ours = unet3d().state_dict(), Net(SMALL, MODELSCOPE, TEXT)
    load_renamed(ours, theirs, diffusers_names(SMALL))
    back = renamed(ours, diffusers_names(SMALL), theirs)
    assert set(back) == set(theirs)
    assert all(torch.equal(back[name], theirs[name]) for name in theirs)
    with pytest.raises(ContractError, match=r"trunk\.enter_time\.\S+ has no place"):
        renamed(ours, diffusers_names(SMALL), {n: v for n, v in theirs.items() if "transformer_in" not in n})
    with pytest.raises(ContractError, match="1 foreign tensors are not filled, first more"):
        renamed(ours, diffusers_names(SMALL), theirs | {"more": torch.zeros(1)})


@torch.no_grad()
def test_in_float64_the_difference_is_rounding():
    theirs, ours = unet3d().double(), Net(SMALL, MODELSCOPE, TEXT).double().eval()
    load_renamed(ours, theirs.state_dict(), diffusers_names(SMALL))
    x, _, words = inputs(torch.float64)
    steps = torch.zeros(B, dtype=torch.float64)  # at which the float32 sines of both are exact
    assert (ours(x, steps, words) - theirs(x, steps, words).sample).abs().max() <= 1e-12


@torch.no_grad()
def test_a_2d_checkpoint_inflates_to_a_video_net_that_is_the_image_net_on_each_frame():
    diffusers = pytest.importorskip("diffusers")
    theirs = drawn(
        diffusers.UNet2DConditionModel(
            sample_size=8,
            block_out_channels=SMALL.channels,
            down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
            layers_per_block=1,
            cross_attention_dim=TEXT,
            attention_head_dim=(2, 4, 4),
            norm_num_groups=8,
        )
    )
    ours = Net(SMALL, MODELSCOPE, TEXT).eval()
    load_renamed(ours, theirs.state_dict(), diffusers_names(SMALL), new=("time.",))
    x, steps, words = inputs()
    video = ours(x, steps, words)
    for frame in range(T):
        assert (video[:, :, frame] - theirs(x[:, :, frame], steps, words).sample).abs().max() <= 1e-5


def test_what_does_not_fit_is_named():
    state = unet3d().state_dict()
    with pytest.raises(ContractError, match=r"tensors have no place, first down_blocks\.0\.temp_attentions"):
        load_renamed(Net(SMALL, NoMixerConfig(), TEXT), state, diffusers_names(SMALL))
    wide = SMALL.model_copy(update={"channels": (16, 32, 64)})
    with pytest.raises(ContractError, match="change trunk or mixer to the checkpoint's sizes"):
        load_renamed(Net(wide, MODELSCOPE, TEXT), state, diffusers_names(wide))
    del state["conv_in.weight"]
    with pytest.raises(ContractError, match=r"trunk\.enter\.weight is missing"):
        load_renamed(Net(SMALL, MODELSCOPE, TEXT), state, diffusers_names(SMALL))


@torch.no_grad()
@pytest.mark.slow
def test_the_whole_net_is_lvdms_released_unet_by_copied_weights():
    """REELMILL_LVDM names a folder from which `import lvdm.models.modules.openaimodel3d` works (needs einops)."""
    checkout = os.environ.get("REELMILL_LVDM")
    if not checkout or not Path(checkout).is_dir():
        pytest.skip("REELMILL_LVDM names no checkout of YingqingHe/LVDM")
    sys.path.insert(0, checkout)
    from lvdm.models.modules.openaimodel3d import UNetModel  # pyright: ignore[reportMissingImports]

    config = AdmUNetConfig(channels=(32, 64, 96), blocks_per_level=2, attention_levels=(1, 2), norm_over="clip")
    mixer = AttentionMixerConfig(num_heads=4, norm="group", positions="relative", max_distance=4, released_order=True)
    theirs = drawn(
        UNetModel(8, 4, 32, 4, 2, [4, 2], channel_mult=(1, 2, 3), num_heads=4, legacy=False, kernel_size_t=1,
                  padding_t=0, temporal_length=4, use_relative_position=True, use_scale_shift_norm=True)
    )  # fmt: skip
    ours = Net(config, mixer, 0).eval()
    load_renamed(ours, split_query(theirs.state_dict()), lvdm_names(config))
    x, steps, _ = inputs()
    theirs_x = theirs(x.clone(), steps)  # it adds in place
    assert (ours(x, steps, None) - theirs_x).abs().max() <= 1e-5


@torch.no_grad()
@pytest.mark.slow
def test_temporal_attention_and_its_bias_are_lucidrains_by_copied_weights():
    """REELMILL_LUCIDRAINS names a folder with the wheel video-diffusion-pytorch and what it imports."""
    folder = os.environ.get("REELMILL_LUCIDRAINS")
    if not folder or not Path(folder).is_dir():
        pytest.skip("REELMILL_LUCIDRAINS names no folder with video-diffusion-pytorch")
    sys.path.insert(0, folder)
    from video_diffusion_pytorch.video_diffusion_pytorch import (  # pyright: ignore[reportMissingImports]
        Attention,
        RelativePositionBias,
    )

    from train.models.temporal import build_mixer

    theirs, bias = Attention(16, heads=2, dim_head=8), RelativePositionBias(heads=2, max_distance=32)
    ours: Any = build_mixer(
        AttentionMixerConfig(num_heads=2, positions="bias", max_distance=32, bias=False, init="random"), 16
    )
    ours.attention.norm = nn.Identity()  # theirs stands outside
    query, key_value = theirs.to_qkv.weight.split((16, 32))
    for own, value in (
        (ours.attention.query, query),
        (ours.attention.key_value, key_value),
        (ours.attention.last, theirs.to_out.weight),
        (ours.attention.bias.table, bias.relative_attention_bias.weight),
    ):
        own.weight.data.copy_(value)
    ours.attention.last.bias.data.zero_()
    ours.attention.normed = lambda x: x
    ours.position = None
    x_BPTC = torch.randn(2, 9, 6, 16)
    expected = theirs(x_BPTC, pos_bias=bias(6, device=x_BPTC.device)).transpose(1, 2)
    assert (ours.attention.branch_over_time(x_BPTC.transpose(1, 2)) - expected).abs().max() <= 1e-5
