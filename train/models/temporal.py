"""Temporal mixers: what lets frames see each other, placed after each block of a spatial trunk.

A mixer gets x_NCHW with N = B * T and gives the same shape. At the start every mixer is the identity exactly (its last
layer is zero), so a video net begins as its image net on each frame.
"""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from shards.config import Config


class ConvMixerConfig(Config):
    """Convolution over time."""

    kind: Literal["conv"] = "conv"
    kernel: Literal[3, 5] = Field(default=3, description="Frames that one output frame sees.")


class AttentionMixerConfig(Config):
    """Attention over time, at each place alone."""

    kind: Literal["attention"] = "attention"
    num_heads: int = Field(default=4, ge=1, description="Heads; divides the channels.")


class NoMixerConfig(Config):
    """Frames do not see each other: an image net on each frame."""

    kind: Literal["none"] = "none"


MixerConfig = Annotated[ConvMixerConfig | AttentionMixerConfig | NoMixerConfig, Field(discriminator="kind")]


class ConvMixer(nn.Module):
    """x + W2 silu(W1 [x(t-1), x(t), x(t+1)]): neighbours stacked as channels, so one dense product per frame."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel
        self.norm = nn.GroupNorm(8, channels)
        self.first = nn.Linear(channels * kernel, channels)
        self.last = zeroed(nn.Linear(channels, channels))

    def forward(self, x_NCHW: Tensor, num_frames: int) -> Tensor:
        """Mix each frame with its neighbours; beyond the ends there is zero."""
        h_BTHWC = channels_last(self.norm(x_NCHW)).unflatten(0, (-1, num_frames))
        reach = self.kernel // 2
        padded = functional.pad(h_BTHWC, (0, 0, 0, 0, 0, 0, reach, reach))
        stacked = torch.cat([padded[:, k : k + num_frames] for k in range(self.kernel)], dim=-1)
        return x_NCHW + channels_first(self.last(functional.silu(self.first(stacked))).flatten(0, 1))


class Attention(nn.Module):
    """Self-attention over tokens, or cross-attention to a context; residual, identity at the start."""

    def __init__(self, channels: int, num_heads: int, context_width: int | None = None) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(channels)
        self.query = nn.Linear(channels, channels)
        self.key_value = nn.Linear(context_width or channels, 2 * channels)
        self.last = zeroed(nn.Linear(channels, channels))

    def forward(self, x_BLD: Tensor, context_BLD: Tensor | None = None) -> Tensor:
        """Attend to the context (default: the tokens themselves)."""
        return x_BLD + self.branch(x_BLD, context_BLD)

    def branch(self, x_BLD: Tensor, context_BLD: Tensor | None = None) -> Tensor:
        """What is added to x."""
        h_BLD = self.norm(x_BLD)
        key, value = self.key_value(h_BLD if context_BLD is None else context_BLD).chunk(2, dim=-1)
        heads = [part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for part in (self.query(h_BLD), key, value)]
        return self.last(functional.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2))


class AttentionMixer(nn.Module):
    """Attention over time at each place, with projected sine positions."""

    def __init__(self, channels: int, num_heads: int) -> None:
        super().__init__()
        self.position = nn.Linear(32, channels)
        self.attention = Attention(channels, num_heads)

    def forward(self, x_NCHW: Tensor, num_frames: int) -> Tensor:
        """Each place attends over its own frames."""
        height, width = x_NCHW.shape[2:]
        x_BTHWC = channels_last(x_NCHW).unflatten(0, (-1, num_frames))
        tokens = x_BTHWC.permute(0, 2, 3, 1, 4).flatten(0, 2)  # (B H W) T C
        place_TC = self.position(sines(torch.arange(num_frames, device=x_NCHW.device), 32))
        change_BHWTC = self.attention.branch(tokens + place_TC).unflatten(0, (-1, height, width))
        return x_NCHW + channels_first(change_BHWTC.permute(0, 3, 1, 2, 4).flatten(0, 1))


class NoMixer(nn.Module):
    """The identity."""

    def forward(self, x_NCHW: Tensor, num_frames: int) -> Tensor:
        """The input."""
        return x_NCHW


def build_mixer(config: MixerConfig, channels: int) -> nn.Module:
    """The mixer of a config for a site of so many channels."""
    if isinstance(config, ConvMixerConfig):
        return ConvMixer(channels, config.kernel)
    if isinstance(config, AttentionMixerConfig):
        return AttentionMixer(channels, config.num_heads)
    return NoMixer()


def channels_last(x_NCHW: Tensor) -> Tensor:
    """View as NHWC: free where the memory lies so, as it does throughout the trunk."""
    return x_NCHW.permute(0, 2, 3, 1)


def channels_first(x_NHWC: Tensor) -> Tensor:
    """View as NCHW."""
    return x_NHWC.permute(0, 3, 1, 2)


def sines(position: Tensor, width: int, longest: float = 10_000.0) -> Tensor:
    """Sine and cosine features of positions, shape (..., width) (Vaswani et al. 2017, section 3.5)."""
    rates = longest ** (-torch.arange(width // 2, device=position.device, dtype=torch.float32) / (width // 2))
    angles = position[..., None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def zeroed(layer: nn.Conv2d | nn.Linear) -> nn.Module:
    """Set a layer's weights to zero: the residual branch it ends is the identity at the start."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
