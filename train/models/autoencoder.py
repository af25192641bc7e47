"""A small learned codec: an image autoencoder applied to each frame (the 2-D base form of LVDM's autoencoder)."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from shards.config import Config


class AutoencoderConfig(Config):
    """Learned autoencoder, trained as a first stage of `fit` and then frozen."""

    kind: Literal["autoencoder"] = "autoencoder"
    block_px: int = Field(
        default=4, ge=1, le=16, description="Side of a block: latents are this much smaller than the picture."
    )
    latent_channels: int = Field(default=16, ge=1, description="Channels of a latent.")
    width: int = Field(default=64, ge=8, description="Channels inside.")
    num_blocks: int = Field(default=2, ge=1, description="Residual blocks of the encoder and of the decoder.")
    latent_noise: float = Field(
        default=0.05, ge=0, description="Noise added to latents in training, so that decoding is smooth."
    )
    colour_weight: float = Field(
        default=6.0, ge=0, description="Extra weight of saturated pixels, which are the small subjects."
    )
    steps: int = Field(default=600, ge=1, description="Steps of the first stage.")
    learning_rate: float = Field(default=2e-3, gt=0, description="AdamW learning rate, falling linearly to 0.")


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, width)
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Residual block."""
        return x_NCHW + self.second(functional.silu(self.first(functional.silu(self.norm(x_NCHW)))))


class Autoencoder(nn.Module):
    """Space to depth, residual blocks, latent, residual blocks, depth to space; latents are bounded by a soft clip."""

    frames_per_latent, first_frame_alone = 1, False

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.pixels_per_latent, self.latent_channels = config.block_px, config.latent_channels
        patch, width = 3 * config.block_px**2, config.width
        blocks = [[_Block(width) for _ in range(config.num_blocks)] for _ in range(2)]
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(config.block_px),
            nn.Conv2d(patch, width, 3, padding=1),
            *blocks[0],
            nn.Conv2d(width, config.latent_channels, 1),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(config.latent_channels, width, 3, padding=1),
            *blocks[1],
            nn.Conv2d(width, patch, 3, padding=1),
            nn.PixelShuffle(config.block_px),
        )

    def encode(self, pixels_BTCHW: Tensor) -> Tensor:
        """Latents of pixels in [-1, 1], each frame alone, in about [-1, 1]."""
        return torch.tanh(self.encoder(pixels_BTCHW.flatten(0, 1))).unflatten(0, pixels_BTCHW.shape[:2])

    def decode(self, z_BTCHW: Tensor) -> Tensor:
        """Pixels of latents."""
        return self.decoder(z_BTCHW.flatten(0, 1)).unflatten(0, z_BTCHW.shape[:2])


def reconstruction_loss(config: AutoencoderConfig, codec: Autoencoder, pixels_BTCHW: Tensor, noise: Tensor) -> Tensor:
    """Squared plus a tenth of absolute error, saturated pixels weighted up.

    Args:
        config: weights.
        codec: the autoencoder.
        pixels_BTCHW: pixels in [-1, 1].
        noise: standard normal, in the shape of the latents.
    """
    z_BTCHW = codec.encode(pixels_BTCHW)
    error = codec.decode(z_BTCHW + config.latent_noise * noise).float() - pixels_BTCHW
    saturation = (pixels_BTCHW.amax(2, keepdim=True) - pixels_BTCHW.amin(2, keepdim=True)) / 2
    return ((1 + config.colour_weight * saturation) * (error.square() + 0.1 * error.abs())).mean()
