"""Tiny image autoencoders of madebyollin/taesd from their own files: TAESD, TAEF1 and TAEF2 (latents of FLUX.2), 8 px.

Each frame alone. TAEF2 adds a pooled norm to the blocks at the coarsest size; its files' names tell.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from shards.config import Config
from shards.errors import ContractError
from shards.ids import file_sha256
from train.pretrained import local_path

_WIDTH = 64


class TaesdConfig(Config):
    """Pretrained tiny autoencoder, each frame alone."""

    kind: Literal["taesd"] = "taesd"
    encoder: str = Field(default="taef2_encoder.pth", description="State dict, a path or below REELMILL_MODELS.")
    decoder: str = Field(default="taef2_decoder.pth", description="State dict, a path or below REELMILL_MODELS.")


class Taesd(nn.Module):
    """Encoder and decoder of a file pair."""

    frames_per_latent, pixels_per_latent, first_frame_alone = 1, 8, False

    def __init__(self, config: TaesdConfig) -> None:
        super().__init__()
        paths = [local_path("codec.encoder", config.encoder), local_path("codec.decoder", config.decoder)]
        states = [
            {name: value.float() for name, value in torch.load(path, map_location="cpu", weights_only=True).items()}
            for path in paths
        ]
        pooled = any(".pool." in name for name in states[0])
        self.latent_channels = len(states[0][max(states[0], key=_place)])
        self.encoder, self.decoder = _encoder(self.latent_channels, pooled), _decoder(self.latent_channels, pooled)
        for network, state, path in zip((self.encoder, self.decoder), states, paths, strict=True):
            try:
                network.load_state_dict(state)
            except RuntimeError as error:
                raise ContractError(
                    f"{path} is no file of a TAESD with 8 px per latent; {error}; use another"
                ) from None
        self.source_sha256 = "+".join(file_sha256(path) for path in paths)

    def encode(self, pixels_BTCHW: Tensor) -> Tensor:
        """Latents of pixels in [-1, 1]."""
        return self.encoder((pixels_BTCHW.flatten(0, 1) + 1) / 2).unflatten(0, pixels_BTCHW.shape[:2])

    def decode(self, z_BTCHW: Tensor) -> Tensor:
        """Pixels of latents."""
        return (self.decoder(z_BTCHW.flatten(0, 1)) * 2 - 1).unflatten(0, z_BTCHW.shape[:2])


class _Block(nn.Module):
    def __init__(self, pooled: bool = False) -> None:
        super().__init__()
        layers = [_conv(), nn.ReLU(), _conv(), nn.ReLU(), _conv()]
        self.conv = nn.Sequential(*layers)
        self.pool = None
        if pooled:
            wide = 4 * _WIDTH
            inner, outer = nn.Conv2d(_WIDTH, wide, 1, bias=False), nn.Conv2d(wide, _WIDTH, 1, bias=False)
            self.pool = nn.Sequential(inner, nn.GroupNorm(4, wide), nn.ReLU(), outer)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Residual block."""
        x_NCHW = x_NCHW if self.pool is None else x_NCHW + self.pool(x_NCHW)
        return (self.conv(x_NCHW) + x_NCHW).relu()


class _SoftClamp(nn.Module):
    def forward(self, z_NCHW: Tensor) -> Tensor:
        """Bound latents to [-3, 3]."""
        return torch.tanh(z_NCHW / 3) * 3


def _encoder(latent_channels: int, pooled: bool) -> nn.Sequential:
    layers: list[nn.Module] = [_conv(3), _Block()]
    for level in range(3):
        layers += [_conv(stride=2, bias=False), *(_Block(pooled and level == 2) for _ in range(3))]
    return nn.Sequential(*layers, _conv(channels=latent_channels))


def _decoder(latent_channels: int, pooled: bool) -> nn.Sequential:
    layers: list[nn.Module] = [_SoftClamp(), _conv(latent_channels), nn.ReLU()]
    for level in range(3):
        layers += [*(_Block(pooled and level == 0) for _ in range(3)), nn.Upsample(scale_factor=2), _conv(bias=False)]
    return nn.Sequential(*layers, _Block(), _conv(channels=3))


def _conv(channels_in: int = _WIDTH, channels: int = _WIDTH, stride: int = 1, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=bias)


def _place(name: str) -> tuple[int, bool]:
    return int(name.partition(".")[0]), name.endswith("bias")
