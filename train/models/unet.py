"""The spatial trunk: a 2-D U-Net on each frame, temporal mixers at its sites, joint attention where it is small.

A site is one `CompactSite`: residual block (per-frame FiLM), temporal mixer, joint space-time attention, attention to
the words. Their names are `trunk.down.<k>`, `trunk.middle.<k>` and `trunk.up.<k>`, k counted from the
finest level.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from shards.config import Config
from shards.errors import ConfigError
from train.models.layers import Attention, channels_first, channels_last, norm_over_clip, zeroed
from train.models.sites import Conditioning, Site
from train.models.temporal import BySiteConfig, MixerConfig, SiteMixerConfig, build_mixer

Modulation = Literal["scale_shift", "add"]


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

    @property
    def level_features(self) -> int:
        """Sines and cosines of the noise level."""
        return 64

    def check_mixer(self, mixer: MixerConfig) -> None:
        """Refuse a mixer that has no site here.

        Raises:
            ValueError: it asks for a place that this trunk does not have.
        """
        if isinstance(mixer, BySiteConfig):
            raise ValueError(
                "mixer.kind is by_site with trunk.kind unet2d, which has one site per block; a single mixer is "
                "allowed; change one of them"
            )


class ResidualBlock(nn.Module):
    """Two convolutions on each frame; the frame's vector enters between them."""

    def __init__(
        self, channels_in: int, channels: int, modulation_width: int, norm_groups: int, modulation: Modulation
    ) -> None:
        super().__init__()
        self.scales = modulation == "scale_shift"
        self.norm_in = nn.GroupNorm(norm_groups, channels_in)
        self.conv_in = nn.Conv2d(channels_in, channels, 3, padding=1)
        self.film = nn.Linear(modulation_width, (2 if self.scales else 1) * channels)
        self.norm_out = nn.GroupNorm(norm_groups, channels)
        self.conv_out = zeroed(nn.Conv2d(channels, channels, 3, padding=1))
        self.skip = nn.Conv2d(channels_in, channels, 1) if channels_in != channels else nn.Identity()

    def forward(self, x_NCHW: Tensor, film_ND: Tensor, normed_frames: int = 1) -> Tensor:
        """Residual block, modulated: norm(h) (1 + scale) + shift, or norm(h + shift).

        Args:
            x_NCHW: pictures.
            film_ND: vector of each.
            normed_frames: pictures that follow one another and share the statistics of the norms.
        """
        h_NCHW = self.conv_in(functional.silu(norm_over_clip(self.norm_in, x_NCHW, normed_frames)))
        film_NC11 = self.film(functional.silu(film_ND))[..., None, None]
        if self.scales:
            scale_NC11, shift_NC11 = film_NC11.chunk(2, dim=1)
            h_NCHW = norm_over_clip(self.norm_out, h_NCHW, normed_frames) * (1 + scale_NC11) + shift_NC11
        else:
            h_NCHW = norm_over_clip(self.norm_out, h_NCHW + film_NC11, normed_frames)
        return self.skip(x_NCHW) + self.conv_out(functional.silu(h_NCHW))


class CompactSite(Site):
    """One place of the trunk: space, then time, then both jointly, then the words."""

    def __init__(
        self, channels_in: int, level: int, config: UNetConfig, mixer: SiteMixerConfig, attends: bool, text_width: int
    ) -> None:
        super().__init__()
        self.level, self.channels = level, config.channels[level]
        channels = self.channels
        self.space = ResidualBlock(channels_in, channels, config.modulation_width, config.norm_groups, "scale_shift")
        self.time = build_mixer(mixer, channels)
        self.joint = Attention(channels, config.num_heads) if attends and mixer.kind != "none" else None
        self.kinds = (("space", "block"),) if self.joint is None else (("space", "block"), ("joint", "attention"))
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
        if isinstance(mixer, BySiteConfig):
            raise ConfigError("mixer.kind is by_site; a single mixer is allowed by trunk unet2d; change one of them")
        channels, per_level = config.channels, config.blocks_per_level
        last = len(channels) - 1
        self.num_levels, self.per_level = len(channels), per_level

        def site(channels_in: int, level: int, middle: bool = False) -> CompactSite:
            attends = config.middle_attention if middle else level in config.attention_levels
            return CompactSite(channels_in, level, config, mixer, attends, text_width)

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
