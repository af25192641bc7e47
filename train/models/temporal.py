"""Temporal mixers: what lets frames see each other, placed at sites of a spatial trunk.

A mixer gets x_NCHW with N = B * T and gives the same shape. With `init: identity` every mixer is the identity exactly
at the start (the last layer of its residual branch is zero), so a video net begins as its image net on each frame.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator
from torch import Tensor

from shards.config import Config
from train.models.temporal_attention import (
    AttentionMixer,
    AttentionMixerConfig,
    TransformerMixer,
    TransformerMixerConfig,
)
from train.models.temporal_conv import (
    ConvMixer,
    ConvMixerConfig,
    ConvStackMixer,
    ConvStackMixerConfig,
    Mixer,
    ShiftMixer,
    ShiftMixerConfig,
)


class NoMixerConfig(Config):
    """Frames do not see each other: an image net on each frame."""

    kind: Literal["none"] = "none"


SiteMixerConfig = Annotated[
    ConvMixerConfig
    | ConvStackMixerConfig
    | AttentionMixerConfig
    | TransformerMixerConfig
    | ShiftMixerConfig
    | NoMixerConfig,
    Field(discriminator="kind"),
]


class BySiteConfig(Config):
    """Another mixer at each kind of site, for trunks that have several."""

    kind: Literal["by_site"] = "by_site"
    enter: SiteMixerConfig = Field(default_factory=NoMixerConfig, description="Behind the first convolution.")
    block: SiteMixerConfig = Field(default_factory=NoMixerConfig, description="Behind each residual block.")
    inner: SiteMixerConfig = Field(
        default_factory=NoMixerConfig,
        description="Inside each spatial transformer, behind its attention to places and behind that to text.",
    )
    attention: SiteMixerConfig = Field(default_factory=NoMixerConfig, description="Behind each spatial attention.")

    @model_validator(mode="after")
    def _mixes_somewhere(self) -> "BySiteConfig":
        if all(mixer.kind == "none" for mixer in (self.enter, self.block, self.inner, self.attention)):
            raise ValueError("by_site has 0 mixers; at least 1 is allowed; add one, or use kind: none")
        return self


MixerConfig = Annotated[
    ConvMixerConfig
    | ConvStackMixerConfig
    | AttentionMixerConfig
    | TransformerMixerConfig
    | ShiftMixerConfig
    | NoMixerConfig
    | BySiteConfig,
    Field(discriminator="kind"),
]


class NoMixer(Mixer):
    """The identity."""

    def mix(self, x_BTPC: Tensor) -> Tensor:
        """The input."""
        return x_BTPC


def build_mixer(config: SiteMixerConfig, channels: int) -> Mixer:
    """The mixer of a config for a site of so many channels."""
    match config:
        case ConvMixerConfig():
            return ConvMixer(config, channels)
        case ConvStackMixerConfig():
            return ConvStackMixer(config, channels)
        case AttentionMixerConfig():
            return AttentionMixer(config, channels)
        case TransformerMixerConfig():
            return TransformerMixer(config, channels)
        case ShiftMixerConfig():
            return ShiftMixer(config, channels)
    return NoMixer()


def by_site(config: MixerConfig) -> BySiteConfig | NoMixerConfig:
    """A single mixer laid out over the sites: convolution and shift behind blocks, attention behind attention."""
    if isinstance(config, BySiteConfig | NoMixerConfig):
        return config
    if isinstance(config, AttentionMixerConfig | TransformerMixerConfig):
        return BySiteConfig(attention=config)
    return BySiteConfig(block=config)
