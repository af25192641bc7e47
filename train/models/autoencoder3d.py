"""The video autoencoder of LVDM: 3-D convolutions, strided in time and space, group norm, repeated borders.

A level halves each axis that has still to shrink, so factors (4, 8, 8) are three levels: two halve time and space, the
third space alone. Repeating the first and last frame, instead of black ones, keeps latents equivariant to shifts by
whole latent frames (tested).
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from shards.config import Config
from train.autoencoding.config import AutoencodingConfig

Padding = Literal["replicate", "zeros"]


class VideoAutoencoderConfig(Config):
    """Learned 3-D autoencoder, trained as a first stage of `fit` (or by `method: autoencoding`) and then frozen."""

    kind: Literal["video_autoencoder"] = "video_autoencoder"
    width: int = Field(default=32, ge=1, description="Channels at the finest level; each level doubles them.")
    frames_per_latent: Literal[1, 2, 4, 8] = Field(default=4, description="Frames of a latent frame.")
    pixels_per_latent: Literal[2, 4, 8, 16] = Field(default=8, description="Side of a latent pixel.")
    latent_channels: int = Field(default=4, ge=1, description="Channels of a latent.")
    norm_groups: int = Field(default=32, ge=1, description="Groups of GroupNorm, over time and space.")
    padding: Padding = Field(default="replicate", description="What lies beyond the borders: the last value, or zeros.")
    weights: str | None = Field(
        default=None, description="Run folder or checkpoint of `method: autoencoding` to take instead of training."
    )
    training: AutoencodingConfig = Field(default_factory=AutoencodingConfig, description="Losses and optimiser.")

    @property
    def num_levels(self) -> int:
        """Levels, the finest left out."""
        return int(math.log2(max(self.frames_per_latent, self.pixels_per_latent)))

    def stride(self, level: int) -> tuple[int, int, int]:
        """Steps in time, height and width of a level of the encoder, 0 is the finest."""
        left = (self.frames_per_latent >> level, self.pixels_per_latent >> level)
        time, space = (2 if factor > 1 else 1 for factor in left)
        return time, space, space

    @model_validator(mode="after")
    def _groups_divide(self) -> "VideoAutoencoderConfig":
        if 2 * self.width % self.norm_groups:
            raise ValueError(
                f"norm_groups is {self.norm_groups} with width {self.width}; a divisor of {2 * self.width} is allowed; "
                "change one of them"
            )
        return self


@dataclass(frozen=True)
class Reconstruction:
    """What an autoencoder made of a video.

    Attributes:
        pixels_BTCHW: decoded.
        mean_BTCHW, log_variance_BTCHW: of the latents.
    """

    pixels_BTCHW: Tensor
    mean_BTCHW: Tensor
    log_variance_BTCHW: Tensor


class VideoAutoencoder(nn.Module):
    """Pixels to a normal distribution of latents, latents to pixels."""

    first_frame_alone = False

    def __init__(self, config: VideoAutoencoderConfig) -> None:
        super().__init__()
        self.frames_per_latent, self.pixels_per_latent = config.frames_per_latent, config.pixels_per_latent
        self.latent_channels = config.latent_channels
        levels, width, channels = range(config.num_levels), config.width, config.latent_channels
        self.encoder = nn.Sequential(
            PaddedConv(3, width, 3, config.padding),
            *(_EncoderLevel(config, level) for level in levels),
            _norm(config, width << config.num_levels),
            nn.SiLU(),
            PaddedConv(width << config.num_levels, 2 * channels, 3, config.padding),
            nn.Conv3d(2 * channels, 2 * channels, 1),
        )
        self.decoder = nn.Sequential(
            nn.Conv3d(channels, channels, 1),
            *(_DecoderLevel(config, level) for level in reversed(levels)),
        )
        self.last = PaddedConv(2 * width, 3, 3, config.padding)

    def moments(self, pixels_BTCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the variance (clipped to [-30, 20]) of the latents."""
        mean_BCTHW, log_variance_BCTHW = self.encoder(pixels_BTCHW.transpose(1, 2)).chunk(2, dim=1)
        return mean_BCTHW.transpose(1, 2), log_variance_BCTHW.clamp(-30.0, 20.0).transpose(1, 2)

    def encode(self, pixels_BTCHW: Tensor) -> Tensor:
        """Latents of pixels in [-1, 1]: the mean."""
        return self.moments(pixels_BTCHW)[0]

    def decode(self, z_BTCHW: Tensor) -> Tensor:
        """Pixels of latents."""
        return self.last(self.decoder(z_BTCHW.transpose(1, 2))).transpose(1, 2)

    def forward(self, pixels_BTCHW: Tensor, noise_BTCHW: Tensor) -> Reconstruction:
        """Encode, draw latents with standard noise, decode."""
        mean, log_variance = self.moments(pixels_BTCHW)
        z_BTCHW = mean + (0.5 * log_variance).exp() * noise_BTCHW
        return Reconstruction(self.decode(z_BTCHW), mean, log_variance)


class PaddedConv(nn.Module):
    """3-D convolution whose output has the input's size over the stride; an odd border is one larger in front."""

    def __init__(
        self, channels_in: int, channels: int, kernel: int, padding: Padding, stride: tuple[int, int, int] = (1, 1, 1)
    ) -> None:
        super().__init__()
        self.border = _border(kernel, stride)
        self.padding: Padding = padding
        self.conv = nn.Conv3d(channels_in, channels, kernel, stride)

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        """Pad and convolve."""
        return self.conv(_padded(x_BCTHW, self.border, self.padding))


class PaddedUp(nn.Module):
    """Transposed 3-D convolution whose output has the input's size times the stride."""

    def __init__(self, channels_in: int, channels: int, padding: Padding, stride: tuple[int, int, int]) -> None:
        super().__init__()
        self.border = _border(4, stride)
        self.padding: Padding = padding
        self.conv = nn.ConvTranspose3d(channels_in, channels, 4, stride, padding=3)

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        """Pad and spread."""
        return self.conv(_padded(x_BCTHW, self.border, self.padding))


class _Block(nn.Module):
    def __init__(self, config: VideoAutoencoderConfig, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            _norm(config, channels),
            nn.SiLU(),
            PaddedConv(channels, channels, 3, config.padding),
            _norm(config, channels),
            nn.SiLU(),
            PaddedConv(channels, channels, 3, config.padding),
        )

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        """Residual block."""
        return x_BCTHW + self.layers(x_BCTHW)


class _EncoderLevel(nn.Sequential):
    def __init__(self, config: VideoAutoencoderConfig, level: int) -> None:
        entering, leaving = config.width << level, config.width << (level + 1)
        super().__init__(
            PaddedConv(entering, leaving, 4, config.padding, config.stride(level)), _Block(config, leaving)
        )


class _DecoderLevel(nn.Sequential):
    """Mirror of an encoder's level; the order of strides is the encoder's, as in LVDM: time grows first."""

    def __init__(self, config: VideoAutoencoderConfig, level: int) -> None:
        top = config.num_levels - 1
        leaving = config.width << (level + 1)
        entering = config.latent_channels if level == top else config.width << (level + 2)
        super().__init__(
            PaddedUp(entering, leaving, config.padding, config.stride(top - level)),
            _Block(config, leaving),
            _Block(config, leaving),
        )


def _norm(config: VideoAutoencoderConfig, channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(config.norm_groups, channels, eps=1e-6)


def _border(kernel: int, stride: tuple[int, int, int]) -> tuple[int, ...]:
    """What `functional.pad` adds before and behind width, height and time."""
    return tuple(side for step in reversed(stride) for side in ((kernel - step + 1) // 2, (kernel - step) // 2))


def _padded(x_BCTHW: Tensor, border: tuple[int, ...], padding: Padding) -> Tensor:
    return functional.pad(x_BCTHW, border, mode="replicate" if padding == "replicate" else "constant")


def parameters_of(config: VideoAutoencoderConfig) -> int:
    """Parameters of the codec, counted without memory."""
    with torch.device("meta"):
        return sum(value.numel() for value in VideoAutoencoder(config).parameters())
