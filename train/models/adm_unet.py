"""The ADM U-Net on each frame (Dhariwal and Nichol 2021), with temporal mixers at named sites.

Latent diffusion, Stable Diffusion, LVDM and ModelScopeT2V are configurations of it. Sites below the trunk:

    enter_time              mixer behind the first convolution
    down.<k>, up.<k>        .block  .block_time  .attention  .attention_time, k counted along the way
    middle.0, middle.1      the same, attention in the first
    shrink.<k>, grow.<k>    halve and double the size
"""

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from shards.config import Config
from train.models.adm_blocks import Down, Up, build_attention
from train.models.layers import check_divides, norm_over_clip, zeroed
from train.models.sites import Conditioning, Site
from train.models.temporal import BySiteConfig, MixerConfig, NoMixerConfig, SiteMixerConfig, build_mixer, by_site
from train.models.unet import ResidualBlock


class AdmUNetConfig(Config):
    """Factorised space-time U-Net with the blocks of ADM, latent diffusion and LVDM."""

    kind: Literal["adm_unet"] = "adm_unet"
    channels: tuple[int, ...] = Field(
        default=(256, 512, 768, 1024), min_length=1, description="Channels per level; each level halves the size."
    )
    blocks_per_level: int = Field(default=3, ge=1, description="Residual blocks per level down; up has one more.")
    attention_levels: tuple[int, ...] = Field(
        default=(1, 2, 3), description="Levels with spatial attention; 0 is fine."
    )
    attention: Literal["plain", "transformer"] = Field(
        default="plain", description="plain: among places. transformer: places, text, feed-forward."
    )
    num_heads: int | None = Field(default=4, ge=1, description="Heads at every level; null goes by head_width.")
    head_width: int | None = Field(default=None, ge=1, description="Width of a head; null goes by num_heads.")
    norm_groups: int = Field(default=32, ge=1, description="Groups of GroupNorm; divides the channels.")
    modulation: Literal["scale_shift", "add"] = Field(
        default="scale_shift", description="How the vector of a frame enters a block: scale and shift, or added."
    )

    norm_over: Literal["frame", "clip"] = Field(
        default="frame",
        description="Statistics of the norms on pictures: clip is LVDM's, and no image net on each frame at the start.",
    )

    @property
    def modulation_width(self) -> int:
        """Width of the vector that modulates each frame: four times the finest level's channels."""
        return 4 * self.channels[0]

    @property
    def level_features(self) -> int:
        """Sines and cosines of the noise level: as many as the finest level has channels."""
        return self.channels[0]

    def heads(self, level: int) -> int:
        """Heads of a level."""
        if self.num_heads is None:
            check_divides("trunk.head_width", self.head_width or 1, self.channels[level])
        return self.num_heads or self.channels[level] // (self.head_width or 1)

    @model_validator(mode="after")
    def _one_rule_for_heads(self) -> "AdmUNetConfig":
        if (self.num_heads is None) == (self.head_width is None):
            raise ValueError(
                f"num_heads is {self.num_heads} and head_width is {self.head_width}; exactly one is allowed; "
                "set the other to null"
            )
        for level in self.attention_levels:
            if not 0 <= level < len(self.channels):
                raise ValueError(
                    f"attention_levels has {level}; 0 to {len(self.channels) - 1} are allowed; change it or channels"
                )
        return self

    def check_mixer(self, mixer: MixerConfig) -> None:
        """Refuse a mixer that has no site here.

        Raises:
            ValueError: it asks for a place that this trunk does not have.
        """
        places = by_site(mixer)
        if isinstance(places, NoMixerConfig):
            return
        if places.inner.kind != "none" and self.attention != "transformer":
            raise ValueError(
                f"mixer.inner is {places.inner.kind} with trunk.attention {self.attention}; transformer is allowed, "
                "which has an inside; change one of them"
            )


class AdmSite(Site):
    """Residual block, mixer, attention, mixer."""

    def __init__(
        self,
        config: AdmUNetConfig,
        mixers: BySiteConfig | NoMixerConfig,
        channels_in: int,
        level: int,
        attends: bool,
        text_width: int,
    ) -> None:
        super().__init__()
        self.level, self.channels = level, config.channels[level]
        self.kinds = (("block", "block"), ("attention", "attention")) if attends else (("block", "block"),)
        behind_block, behind_attention = _mixers(mixers)
        self.block = ResidualBlock(
            channels_in, self.channels, config.modulation_width, config.norm_groups, config.modulation
        )
        self.block_time = build_mixer(behind_block, self.channels)
        self.norms_clip = config.norm_over == "clip"
        self.attention = None
        if attends:
            heads = config.heads(level)
            check_divides("trunk.num_heads", heads, self.channels)
            self.attention = build_attention(
                config.attention, self.channels, heads, config.norm_groups, text_width, mixers
            )
            self.attention_time = build_mixer(behind_attention, self.channels)

    def forward(self, x_NCHW: Tensor, given: Conditioning) -> Tensor:
        """Apply the site."""
        normed_frames = given.num_frames if self.norms_clip else 1
        x_NCHW = self.block_time(self.block(x_NCHW, given.film_ND, normed_frames), given.num_frames)
        if self.attention is not None:
            x_NCHW = self.attention_time(self.attention(x_NCHW, given, normed_frames), given.num_frames)
        return x_NCHW


class AdmUNet(nn.Module):
    """x_NCHW to x_NCHW, N = B * T; the output is zero at the start."""

    def __init__(
        self, config: AdmUNetConfig, mixer: MixerConfig, channels_in: int, channels_out: int, text_width: int
    ) -> None:
        super().__init__()
        channels, mixers, last = config.channels, by_site(mixer), len(config.channels) - 1
        for width in channels:
            check_divides("trunk.norm_groups", config.norm_groups, width)
        self.num_levels, self.per_level = len(channels), config.blocks_per_level

        def site(entering: int, level: int, attends: bool) -> AdmSite:
            return AdmSite(config, mixers, entering, level, attends, text_width)

        self.enter = nn.Conv2d(channels_in, channels[0], 3, padding=1)
        self.enter_time = build_mixer(mixers.enter if isinstance(mixers, BySiteConfig) else mixers, channels[0])
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        self.shrink, self.grow = nn.ModuleList(), nn.ModuleList()
        skips, width = [channels[0]], channels[0]
        for level, level_width in enumerate(channels):
            for _ in range(self.per_level):
                self.down.append(site(width, level, level in config.attention_levels))
                width = level_width
                skips.append(width)
            if level < last:
                self.shrink.append(Down(width, level))
                skips.append(width)
        self.middle = nn.ModuleList([site(width, last, True), site(width, last, False)])
        for level in reversed(range(self.num_levels)):
            for _ in range(self.per_level + 1):
                self.up.append(site(width + skips.pop(), level, level in config.attention_levels))
                width = channels[level]
            if level:
                self.grow.append(Up(width, level))
        self.norms_clip = config.norm_over == "clip"
        self.leave_norm = nn.GroupNorm(config.norm_groups, width)
        self.leave = zeroed(nn.Conv2d(width, channels_out, 3, padding=1))

    def forward(self, x_NCHW: Tensor, given: Conditioning) -> Tensor:
        """Down, middle, up."""
        h_NCHW = self.enter_time(self.enter(x_NCHW), given.num_frames)
        skips = [h_NCHW]
        for level in range(self.num_levels):
            for site in self.down[level * self.per_level : (level + 1) * self.per_level]:
                h_NCHW = site(h_NCHW, given)
                skips.append(h_NCHW)
            if level < self.num_levels - 1:
                h_NCHW = self.shrink[level](h_NCHW, given)
                skips.append(h_NCHW)
        for site in self.middle:
            h_NCHW = site(h_NCHW, given)
        per_level = self.per_level + 1
        for step in range(self.num_levels):
            for site in self.up[step * per_level : (step + 1) * per_level]:
                h_NCHW = site(torch.cat([h_NCHW, skips.pop()], dim=1), given)
            if step < self.num_levels - 1:
                h_NCHW = self.grow[step](h_NCHW, given)
        normed_frames = given.num_frames if self.norms_clip else 1
        return self.leave(functional.silu(norm_over_clip(self.leave_norm, h_NCHW, normed_frames)))


def _mixers(mixers: BySiteConfig | NoMixerConfig) -> tuple[SiteMixerConfig, SiteMixerConfig]:
    return (mixers.block, mixers.attention) if isinstance(mixers, BySiteConfig) else (mixers, mixers)
