"""The codec primitive: pixels to latents and back. Two values: a fixed transform, and a small learned autoencoder."""

from typing import Annotated, Protocol

from pydantic import Field
from torch import Tensor

from shards.errors import ConfigError
from train.models.autoencoder import Autoencoder, AutoencoderConfig
from train.models.codec_transform import TransformCodec, TransformCodecConfig

CodecConfig = Annotated[TransformCodecConfig | AutoencoderConfig, Field(discriminator="kind")]


class Codec(Protocol):
    """What every codec offers."""

    frames_per_latent: int
    pixels_per_latent: int
    latent_channels: int

    def encode(self, pixels_BTCHW: Tensor) -> Tensor:
        """Latents z_BTCHW of pixels in [-1, 1]."""
        ...

    def decode(self, z_BTCHW: Tensor) -> Tensor:
        """Pixels, in about [-1, 1], of latents."""
        ...


def build_codec(config: CodecConfig) -> TransformCodec | Autoencoder:
    """The codec of a config, in evaluation mode."""
    codec = TransformCodec(config) if isinstance(config, TransformCodecConfig) else Autoencoder(config)
    return codec.eval()


def latent_shape(codec: Codec, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
    """Shape (T, C, H, W) of one clip's latent.

    Raises:
        ConfigError: the clip's size is no multiple of the codec's steps.
    """
    time, space = codec.frames_per_latent, codec.pixels_per_latent
    if frames % time or height % space or width % space:
        raise ConfigError(
            f"data.view is {frames} frames of {height}x{width}; multiples of {time} frames and {space} px are allowed "
            "by the codec; change data.view or the codec"
        )
    return frames // time, codec.latent_channels, height // space, width // space


def pixels_of(video_BTHWC: Tensor) -> Tensor:
    """Uint8 video to float pixels_BTCHW in [-1, 1]."""
    return video_BTHWC.movedim(-1, 2).float() / 127.5 - 1


def video_of(pixels_BTCHW: Tensor) -> Tensor:
    """Pixels in [-1, 1] (clipped) to uint8 video_BTHWC."""
    return ((pixels_BTCHW.clamp(-1, 1) + 1) * 127.5).round().byte().movedim(2, -1)
