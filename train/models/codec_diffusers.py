"""Pretrained autoencoders through diffusers: AutoencoderKL and AutoencoderTiny frame by frame, and its video VAEs.

A video VAE whose first frame is a latent of its own (CogVideoX, Wan, HunyuanVideo) takes 1 + k f frames.
"""

import inspect
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from shards.config import Config
from shards.errors import ConfigError
from shards.ids import digest
from train.pretrained import path_or_hub_id

_PROBE_PX = 64


class DiffusersVaeConfig(Config):
    """Pretrained VAE in diffusers' layout."""

    kind: Literal["diffusers"] = "diffusers"
    path: str = Field(description="Folder (also below REELMILL_MODELS) or hub id of the VAE or of a whole pipeline.")
    subfolder: str | None = Field(default=None, description="Folder of the VAE inside it, e.g. vae.")
    revision: str | None = Field(default=None, description="Of the hub repository; null is the newest.")
    frames_at_once: int = Field(default=8, ge=1, description="Frames of an image VAE in one call, for its memory.")


class DiffusersVae(nn.Module):
    """A VAE as a codec: the mode of its latents, in its own scale."""

    def __init__(self, config: DiffusersVaeConfig) -> None:
        super().__init__()
        try:
            from diffusers.models.auto_model import AutoModel
        except ImportError as error:
            raise ConfigError(
                "codec.kind is diffusers; the package is needed; pip install reelmill[pretrained]"
            ) from error
        keys = {"subfolder": config.subfolder, "revision": config.revision}
        given = {name: value for name, value in keys.items() if value is not None}
        self.vae: Any = AutoModel.from_pretrained(path_or_hub_id(config.path), **given).eval().requires_grad_(False)
        self.frames_at_once = config.frames_at_once
        self.decodes_clips = "num_frames" in inspect.signature(self.vae.decode).parameters  # SVD's temporal decoder
        self.encodes_clips = any(isinstance(module, nn.Conv3d) for module in self.vae.encoder.modules())
        self._measure()
        state = self.vae.state_dict()
        self.source_sha256 = digest({name: _fingerprint(value) for name, value in state.items()})

    def encode(self, pixels_BTCHW: Tensor) -> Tensor:
        """Latents of pixels in [-1, 1]."""
        if self.encodes_clips:
            return _latents(self.vae.encode(pixels_BTCHW.transpose(1, 2))).transpose(1, 2)
        parts = [_latents(self.vae.encode(part)) for part in pixels_BTCHW.flatten(0, 1).split(self.frames_at_once)]
        return torch.cat(parts).unflatten(0, pixels_BTCHW.shape[:2])

    def decode(self, z_BTCHW: Tensor) -> Tensor:
        """Pixels of latents."""
        if self.encodes_clips:
            return self.vae.decode(z_BTCHW.transpose(1, 2)).sample.transpose(1, 2)
        if self.decodes_clips:
            pixels_NCHW = self.vae.decode(z_BTCHW.flatten(0, 1), num_frames=z_BTCHW.shape[1]).sample
        else:
            parts = z_BTCHW.flatten(0, 1).split(self.frames_at_once)
            pixels_NCHW = torch.cat([self.vae.decode(part).sample for part in parts])
        return pixels_NCHW.unflatten(0, z_BTCHW.shape[:2])

    @torch.no_grad()
    def _measure(self) -> None:
        """Factors, by encoding black frames."""
        frames = 17 if self.encodes_clips else 1
        z_BTCHW = self.encode(torch.zeros(1, frames, 3, _PROBE_PX, _PROBE_PX))
        self.latent_channels, self.pixels_per_latent = z_BTCHW.shape[2], _PROBE_PX // z_BTCHW.shape[-1]
        made = z_BTCHW.shape[1]
        self.first_frame_alone = self.encodes_clips and made > 1
        self.frames_per_latent = 16 // (made - 1) if self.first_frame_alone else 1


def _latents(encoded: Any) -> Tensor:
    return encoded.latents if hasattr(encoded, "latents") else encoded.latent_dist.mode()


def _fingerprint(value: Tensor) -> list[Any]:
    return [list(value.shape), float(value.double().sum()), float(value.double().square().sum())]
