"""The trunk primitive: which spatial network stands below the mixers."""

from typing import Annotated

from pydantic import Field

from train.models.adm_unet import AdmUNet, AdmUNetConfig
from train.models.temporal import MixerConfig
from train.models.unet import UNet, UNetConfig

TrunkConfig = Annotated[UNetConfig | AdmUNetConfig, Field(discriminator="kind")]


def build_trunk(
    config: UNetConfig | AdmUNetConfig, mixer: MixerConfig, channels_in: int, channels_out: int, text_width: int
) -> UNet | AdmUNet:
    """The trunk of a config.

    Args:
        config: which.
        mixer: temporal mixer at its sites.
        channels_in: channels of the noisy latent and of the maps beside it.
        channels_out: channels of the target.
        text_width: width of word vectors for cross-attention; 0 has none.
    """
    if isinstance(config, AdmUNetConfig):
        return AdmUNet(config, mixer, channels_in, channels_out, text_width)
    return UNet(config, mixer, channels_in, channels_out, text_width)
