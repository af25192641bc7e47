"""Layers that trunks and mixers share: attention over tokens, feed-forward, small views, checks of sizes.

P = places of a picture (rows times columns), G = heads, D = width of a head.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from shards.errors import ConfigError


class Attention(nn.Module):
    """Self-attention over tokens, or cross-attention to a context; residual, identity at the start."""

    def __init__(
        self,
        channels: int,
        num_heads: int,
        context_width: int | None = None,
        *,
        bias: bool = True,
        norm_groups: int | None = None,
    ) -> None:
        """Weights of the layer.

        Args:
            channels: width of the tokens.
            num_heads: divides the channels.
            context_width: width of another sequence that is attended to; None attends to the tokens themselves.
            bias: whether query, key and value have one.
            norm_groups: groups of a GroupNorm over each sequence; None is a LayerNorm of each token.
        """
        super().__init__()
        check_divides("num_heads", num_heads, channels)
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(channels) if norm_groups is None else nn.GroupNorm(norm_groups, channels)
        self.query = nn.Linear(channels, channels, bias)
        self.key_value = nn.Linear(context_width or channels, 2 * channels, bias)
        self.last = zeroed(nn.Linear(channels, channels))

    def forward(self, x_BLC: Tensor, context_BLC: Tensor | None = None) -> Tensor:
        """Attend to the context (default: the tokens themselves)."""
        return x_BLC + self.branch(x_BLC, context_BLC)

    def branch(self, x_BLC: Tensor, context_BLC: Tensor | None = None) -> Tensor:
        """What is added to x."""
        query, key, value = self.heads(self.normed(x_BLC), context_BLC)
        return self.last(functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))

    def normed(self, x_BLC: Tensor) -> Tensor:
        """Normalised tokens."""
        if isinstance(self.norm, nn.LayerNorm):
            return self.norm(x_BLC)
        return group_norm(self.norm, x_BLC[:, None])[:, 0]

    def heads(self, h_BLC: Tensor, context_BLC: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value of shape (B, G, L, D)."""
        key, value = self.key_value(h_BLC if context_BLC is None else context_BLC).chunk(2, dim=-1)
        query, key, value = (
            part.unflatten(-1, (self.num_heads, -1)).transpose(-3, -2) for part in (self.query(h_BLC), key, value)
        )
        return query, key, value


class FeedForward(nn.Module):
    """Gated feed-forward, residual (Shazeer 2020, eq. 6, GEGLU); `last` may be zero at the start."""

    def __init__(self, channels: int, factor: int = 4) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.first = nn.Linear(channels, 2 * factor * channels)
        self.last = nn.Linear(factor * channels, channels)

    def forward(self, x_BLC: Tensor) -> Tensor:
        """Apply to each token."""
        value, gate = self.first(self.norm(x_BLC)).chunk(2, dim=-1)
        return x_BLC + self.last(value * functional.gelu(gate))


def group_norm(norm: nn.GroupNorm, x_BTPC: Tensor) -> Tensor:
    """GroupNorm with statistics over the two middle axes: of a whole clip, or of one frame if T is 1."""
    return norm(x_BTPC.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def norm_over_clip(norm: nn.GroupNorm, x_NCHW: Tensor, num_frames: int) -> Tensor:
    """GroupNorm of pictures with statistics over all `num_frames` of a clip; 1 is each frame alone."""
    if num_frames == 1:
        return norm(x_NCHW)
    clips_BHWC = channels_last(x_NCHW).unflatten(0, (-1, num_frames)).flatten(1, 2)  # frames below one another
    normed_NHWC = channels_last(norm(channels_first(clips_BHWC))).unflatten(1, (num_frames, -1)).flatten(0, 1)
    return channels_first(normed_NHWC)


def channels_last(x_NCHW: Tensor) -> Tensor:
    """View as NHWC: free where the memory lies so, as it does throughout the trunk."""
    return x_NCHW.permute(0, 2, 3, 1)


def channels_first(x_NHWC: Tensor) -> Tensor:
    """View as NCHW."""
    return x_NHWC.permute(0, 3, 1, 2)


def sines(position: Tensor, width: int, longest: float = 10_000.0) -> Tensor:
    """Sine and cosine features of positions, shape (..., width) (Vaswani et al. 2017, section 3.5)."""
    rates = longest ** (-torch.arange(width // 2, device=position.device, dtype=torch.float32) / (width // 2))
    angles = position[..., None] * rates.to(position.dtype if position.is_floating_point() else torch.float32)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def zeroed(layer: nn.Conv2d | nn.Conv3d | nn.Linear) -> nn.Module:
    """Set a layer's weights to zero: the residual branch it ends is the identity at the start."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def check_divides(knob: str, parts: int, channels: int) -> None:
    """Refuse a number of parts that does not divide the channels.

    Raises:
        ConfigError: it leaves a rest.
    """
    if channels % parts:
        raise ConfigError(f"{knob} is {parts}; a divisor of the {channels} channels is allowed; change it or channels")
