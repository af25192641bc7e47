"""The spatial trunk: a 2-D U-Net on each frame, temporal mixers at its sites, joint attention where it is small.

A site is one `Site` module: residual block (per-frame FiLM), temporal mixer, joint space-time attention, attention to
the words. Their names are `trunk.down.<k>`, `trunk.middle.<k>` and `trunk.up.<k>`, k counted from the
finest level.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from shards.config import Config
from train.models.temporal import Attention, MixerConfig, build_mixer, channels_first, channels_last, zeroed


class UNetConfig(Config):
    """Factorised space-time U-Net."""

    kind: Literal["unet2d"] = "unet2d"
    channels: tuple[int, ...] = Field(
        default=(64, 128), min_length=1, description="Channels per level, fine to coarse; each halves the size."
    )
    blocks_per_level: int = Field(default=1, ge=1, description="Residual blocks per level on the way down, and up.")
    middle_blocks: int = Field(default=1, ge=1, description="Sites at the coarsest level between down and up.")
    middle_attention: bool = Field(default=True, description="Joint space-time attention at the middle sites.")
    attention_levels: tuple[int, ...] = Field(
        default=(), description="Levels whose down and up sites have it too; small ones only."
    )
    num_heads: int = Field(default=4, ge=1, description="Heads of attention; divides the channels.")
    norm_groups: int = Field(default=8, ge=1, description="Groups of GroupNorm; divides the channels.")
    modulation_width: int = Field(default=256, ge=8, description="Width of the vector that modulates each frame.")


@dataclass(frozen=True)
class Conditioning:
    """What every site may use.

    Attributes:
        film_ND: modulation of each frame.
        words_BLD: word vectors for cross-attention; None if text does not enter that way.
        num_frames: T, with N = B * T.
    """

    film_ND: Tensor
    words_BLD: Tensor | None
    num_frames: int


class ResidualBlock(nn.Module):
    """Two convolutions on each frame; scale and shift per frame between them."""

    def __init__(self, channels_in: int, channels: int, config: UNetConfig) -> None:
        super().__init__()
        self.norm_in = nn.GroupNorm(config.norm_groups, channels_in)
        self.conv_in = nn.Conv2d(channels_in, channels, 3, padding=1)
        self.film = nn.Linear(config.modulation_width, 2 * channels)
        self.norm_out = nn.GroupNorm(config.norm_groups, channels)
        self.conv_out = zeroed(nn.Conv2d(channels, channels, 3, padding=1))
        self.skip = nn.Conv2d(channels_in, channels, 1) if channels_in != channels else nn.Identity()

    def forward(self, x_NCHW: Tensor, film_ND: Tensor) -> Tensor:
        """Residual block, modulated."""
        h_NCHW = self.norm_out(self.conv_in(functional.silu(self.norm_in(x_NCHW))))
        scale_NC, shift_NC = self.film(functional.silu(film_ND)).chunk(2, dim=-1)
        h_NCHW = h_NCHW * (1 + scale_NC[..., None, None]) + shift_NC[..., None, None]
        return self.skip(x_NCHW) + self.conv_out(functional.silu(h_NCHW))


class Site(nn.Module):
    """One place of the trunk: space, then time, then both jointly, then the words."""

    def __init__(
        self, channels_in: int, channels: int, config: UNetConfig, mixer: MixerConfig, attends: bool, text_width: int
    ) -> None:
        super().__init__()
        self.space = ResidualBlock(channels_in, channels, config)
        self.time = build_mixer(mixer, channels)
        self.joint = Attention(channels, config.num_heads) if attends and mixer.kind != "none" else None
        self.words = Attention(channels, config.num_heads, text_width) if text_width else None

    def forward(self, x_NCHW: Tensor, given: Conditioning) -> Tensor:
        """Apply the site."""
        x_NCHW = self.time(self.space(x_NCHW, given.film_ND), given.num_frames)
        if self.joint is None and self.words is None:
            return x_NCHW
        height, width = x_NCHW.shape[2:]
        tokens_BLC = channels_last(x_NCHW).unflatten(0, (-1, given.num_frames)).flatten(1, 3)
        if self.joint is not None:
            tokens_BLC = self.joint(tokens_BLC)
        if self.words is not None:
            tokens_BLC = self.words(tokens_BLC, given.words_BLD)
        return channels_first(tokens_BLC.unflatten(1, (given.num_frames, height, width)).flatten(0, 1))


class UNet(nn.Module):
    """x_NCHW to x_NCHW, N = B * T; the output is zero at the start."""

    def __init__(
        self, config: UNetConfig, mixer: MixerConfig, channels_in: int, channels_out: int, text_width: int
    ) -> None:
        super().__init__()
        channels, per_level = config.channels, config.blocks_per_level
        last = len(channels) - 1
        self.num_levels, self.per_level = len(channels), per_level

        def site(channels_in: int, level: int, middle: bool = False) -> Site:
            attends = config.middle_attention if middle else level in config.attention_levels
            return Site(channels_in, channels[level], config, mixer, attends, text_width)

        self.enter = nn.Conv2d(channels_in, channels[0], 3, padding=1)
        self.down = nn.ModuleList()
        self.up = nn.ModuleList()
        for level, width in enumerate(channels):
            above, below = channels[max(level - 1, 0)], channels[min(level + 1, last)]
            self.down.extend(site(above if k == 0 else width, level) for k in range(per_level))
            self.up.extend(site(width + (below if k == 0 else width), level) for k in range(per_level))
        self.shrink = nn.ModuleList([nn.Conv2d(width, width, 3, stride=2, padding=1) for width in channels[:-1]])
        self.middle = nn.ModuleList([site(channels[last], last, middle=True) for _ in range(config.middle_blocks)])
        self.leave_norm = nn.GroupNorm(config.norm_groups, channels[0])
        self.leave = zeroed(nn.Conv2d(channels[0], channels_out, 3, padding=1))

    def forward(self, x_NCHW: Tensor, given: Conditioning) -> Tensor:
        """Down, middle, up."""
        h_NCHW, skips = self.enter(x_NCHW), []
        for level in range(self.num_levels):
            if level:
                h_NCHW = self.shrink[level - 1](h_NCHW)
            for site in self._sites(self.down, level):
                h_NCHW = site(h_NCHW, given)
                skips.append(h_NCHW)
        for site in self.middle:
            h_NCHW = site(h_NCHW, given)
        for level in reversed(range(self.num_levels)):
            if level < self.num_levels - 1:
                h_NCHW = functional.interpolate(h_NCHW, scale_factor=2.0, mode="nearest")
            for site in self._sites(self.up, level):
                h_NCHW = site(torch.cat([h_NCHW, skips.pop()], dim=1), given)
        return self.leave(functional.silu(self.leave_norm(h_NCHW)))

    def _sites(self, sites: nn.ModuleList, level: int) -> nn.ModuleList:
        return sites[level * self.per_level : (level + 1) * self.per_level]
