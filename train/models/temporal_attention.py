"""Mixers with attention over time, each place alone: one layer, or a small transformer.

Positions enter in one of four ways:

none         frames are a set
sinusoidal   projected sines are added to the tokens             Vaswani et al. 2017, section 3.5
relative     a vector per distance joins keys and values         Shaw et al. 2018, eq. 3 and 4 (LVDM)
bias         a scalar per distance and head joins the scores     Raffel et al. 2020, section 2.1 (T5, VDM)
"""

import math
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from shards.config import Config
from shards.errors import ConfigError
from train.models.layers import Attention, FeedForward, check_divides, group_norm, sines, zeroed
from train.models.temporal_conv import Init, Mixer

Positions = Literal["none", "sinusoidal", "relative", "bias"]
_SINES = 32


class _AttentionOverTime(Config):
    num_heads: int | None = Field(default=4, ge=1, description="Heads; null is channels / head_width.")
    head_width: int | None = Field(default=None, ge=1, description="Width of a head; null is channels / num_heads.")
    positions: Positions = Field(default="sinusoidal", description="How a frame's place in time enters.")
    max_distance: int = Field(
        default=16, ge=1, description="relative, bias: distances beyond it, in frames, count as it."
    )
    causal: bool = Field(default=False, description="A frame sees only itself and frames before it.")
    window: int | None = Field(default=None, ge=1, description="Farthest frame seen, in frames; null sees all.")
    init: Init = Field(default="identity", description="Weights of the last layer: zero, or drawn.")

    @model_validator(mode="after")
    def _heads_are_known(self) -> "_AttentionOverTime":
        if self.num_heads is None and self.head_width is None:
            raise ValueError("num_heads and head_width are null; at least one is allowed to say; set one of them")
        return self


class AttentionMixerConfig(_AttentionOverTime):
    """One layer of attention over time."""

    kind: Literal["attention"] = "attention"
    norm: Literal["layer", "group"] = Field(
        default="layer", description="Of each token, or in groups of channels over the frames of a place (LVDM)."
    )
    norm_groups: int = Field(default=32, ge=1, description="group: groups of channels.")
    bias: bool = Field(default=True, description="Whether query, key and value have a bias.")
    released_order: bool = Field(
        default=False,
        description="relative: the key term as LVDM's released code computes it, transposed and scaled by D^-1/4.",
    )

    @model_validator(mode="after")
    def _order_is_of_relative_positions(self) -> "AttentionMixerConfig":
        if self.released_order and self.positions != "relative":
            raise ValueError(f"released_order is true with positions {self.positions}; relative is allowed; change one")
        return self


class TransformerMixerConfig(_AttentionOverTime):
    """A transformer over time: norm over the clip, projection, layers of two attentions and a feed-forward."""

    kind: Literal["transformer"] = "transformer"
    num_layers: int = Field(default=1, ge=1, description="Layers.")
    norm_groups: int = Field(default=32, ge=1, description="Groups of the norm over the clip; divides the channels.")


class AttentionMixer(Mixer):
    """Attention over time at each place."""

    def __init__(self, config: AttentionMixerConfig, channels: int) -> None:
        super().__init__()
        groups = config.norm_groups if config.norm == "group" else None
        if groups is not None:
            check_divides("mixer.norm_groups", groups, channels)
        width, num_heads = attention_size(config.num_heads, config.head_width, channels)
        if width != channels:
            raise ConfigError(
                f"mixer is {num_heads} heads of {config.head_width}; {channels} channels in all are allowed by "
                "attention; set one of num_heads and head_width to null"
            )
        self.attention = TimeAttention(config, channels, num_heads, bias=config.bias, norm_groups=groups)
        self.attention.released_order = config.released_order
        if config.init == "random":
            self.attention.last.reset_parameters()
        self.position = nn.Linear(_SINES, channels) if config.positions == "sinusoidal" else None

    def mix(self, x_BTPC: Tensor) -> Tensor:
        """Each place attends over its own frames."""
        return x_BTPC + self.attention.branch_over_time(_placed(x_BTPC, self.position))


class TransformerMixer(Mixer):
    """x + project(layers(project(norm(x)))), each place alone."""

    def __init__(self, config: TransformerMixerConfig, channels: int) -> None:
        super().__init__()
        check_divides("mixer.norm_groups", config.norm_groups, channels)
        width, num_heads = attention_size(config.num_heads, config.head_width, channels)
        self.norm = nn.GroupNorm(config.norm_groups, channels, eps=1e-6)
        self.first = nn.Linear(channels, width)
        self.position = nn.Linear(_SINES, width) if config.positions == "sinusoidal" else None
        self.layers = nn.ModuleList([_TransformerLayer(config, width, num_heads) for _ in range(config.num_layers)])
        self.last = nn.Linear(width, channels)
        if config.init == "identity":
            zeroed(self.last)

    def mix(self, x_BTPC: Tensor) -> Tensor:
        """Each place's frames go through the layers."""
        h_BTPC = _placed(self.first(group_norm(self.norm, x_BTPC)), self.position)
        for layer in self.layers:
            h_BTPC = layer(h_BTPC)
        return x_BTPC + self.last(h_BTPC)


class _TransformerLayer(nn.Module):
    def __init__(self, config: TransformerMixerConfig, width: int, num_heads: int) -> None:
        super().__init__()
        self.first = TimeAttention(config, width, num_heads, bias=False)
        self.second = TimeAttention(config, width, num_heads, bias=False)
        for attention in (self.first, self.second):  # the projection behind the layers makes the identity
            attention.last.reset_parameters()
        self.feed = FeedForward(width)

    def forward(self, h_BTPC: Tensor) -> Tensor:
        """Attention, attention, feed-forward."""
        h_BTPC = h_BTPC + self.first.branch_over_time(h_BTPC)
        h_BTPC = h_BTPC + self.second.branch_over_time(h_BTPC)
        return self.feed(h_BTPC)


class TimeAttention(Attention):
    """Attention whose sequence is the frames of one place."""

    last: nn.Linear

    def __init__(
        self,
        config: _AttentionOverTime,
        channels: int,
        num_heads: int,
        *,
        bias: bool,
        norm_groups: int | None = None,
    ) -> None:
        super().__init__(channels, num_heads, bias=bias, norm_groups=norm_groups)
        self.causal, self.window, self.released_order = config.causal, config.window, False
        width = channels // num_heads
        self.keys = self.values = self.bias = None
        if config.positions == "relative":
            self.keys, self.values = (
                RelativeTable(config.max_distance, width),
                RelativeTable(config.max_distance, width),
            )
        if config.positions == "bias":
            self.bias = BucketBias(num_heads, max_distance=config.max_distance)

    def branch_over_time(self, x_BTPC: Tensor) -> Tensor:
        """What is added to x: layers see tokens where they lie in memory, only the scores see time."""
        if isinstance(self.norm, nn.LayerNorm):
            h_BTPC = self.norm(x_BTPC)
        else:
            h_BTPC = self.normed(x_BTPC.transpose(1, 2).flatten(0, 1)).unflatten(0, (len(x_BTPC), -1)).transpose(1, 2)
        parts = (self.query(h_BTPC), *self.key_value(h_BTPC).chunk(2, dim=-1))
        heads = [part.unflatten(-1, (self.num_heads, -1)).permute(0, 2, 3, 1, 4).flatten(0, 1) for part in parts]
        out_SGTD = self._attend(*heads)  # S = B * P sequences
        return self.last(out_SGTD.unflatten(0, (len(x_BTPC), -1)).permute(0, 3, 1, 2, 4).flatten(3))

    def _attend(self, query_SGTD: Tensor, key_SGTD: Tensor, value_SGTD: Tensor) -> Tensor:
        num_frames = query_SGTD.shape[2]
        added = visible(num_frames, self.causal, self.window, query_SGTD)
        if self.bias is not None:
            bias_GTT = self.bias(num_frames).to(query_SGTD)
            added = bias_GTT if added is None else bias_GTT + added
        if self.keys is None or self.values is None:
            return functional.scaled_dot_product_attention(query_SGTD, key_SGTD, value_SGTD, attn_mask=added)
        scale = 1 / math.sqrt(query_SGTD.shape[-1])
        scores_SGTU = (query_SGTD * scale) @ key_SGTD.transpose(-2, -1)
        scores_SGTU = scores_SGTU + self._relative_scores(query_SGTD, scale)
        if added is not None:
            scores_SGTU = scores_SGTU + added
        weights_SGTU = scores_SGTU.softmax(dim=-1)
        values_TUD = self.values(num_frames).to(weights_SGTU.dtype)
        return weights_SGTU @ value_SGTD + torch.einsum("sgtu,tud->sgtd", weights_SGTU, values_TUD)

    def _relative_scores(self, query_SGTD: Tensor, scale: float) -> Tensor:
        assert self.keys is not None
        keys_TUD = self.keys(query_SGTD.shape[2]).to(query_SGTD.dtype)
        if self.released_order:
            return torch.einsum("sgtd,tud->sgut", query_SGTD * math.sqrt(scale), keys_TUD)
        return torch.einsum("sgtd,tud->sgtu", query_SGTD * scale, keys_TUD)


def attention_size(num_heads: int | None, head_width: int | None, channels: int) -> tuple[int, int]:
    """Width inside an attention, and its heads: one of the two may be null and follows from the channels.

    Raises:
        ConfigError: the one given does not divide the channels.
    """
    if num_heads is not None and head_width is not None:
        return num_heads * head_width, num_heads
    check_divides("mixer.num_heads" if num_heads else "mixer.head_width", num_heads or head_width or 1, channels)
    return channels, num_heads or channels // (head_width or 1)


class RelativeTable(nn.Module):
    """A vector for each distance from -max to max."""

    def __init__(self, max_distance: int, width: int) -> None:
        super().__init__()
        self.max_distance = max_distance
        self.table = nn.Parameter(torch.empty(2 * max_distance + 1, width))
        nn.init.xavier_uniform_(self.table)

    def forward(self, num_frames: int) -> Tensor:
        """Vectors of shape (T, T, D): entry (t, u) is that of distance u - t, clipped."""
        place = torch.arange(num_frames, device=self.table.device)
        distance = (place[None] - place[:, None]).clamp(-self.max_distance, self.max_distance)
        return self.table[distance + self.max_distance]


class BucketBias(nn.Module):
    """A scalar per head for each bucket of distances: exact while near, logarithmic up to the largest."""

    def __init__(self, num_heads: int, num_buckets: int = 32, max_distance: int = 16) -> None:
        super().__init__()
        self.num_buckets, self.max_distance = num_buckets, max_distance
        self.table = nn.Embedding(num_buckets, num_heads)

    def forward(self, num_frames: int) -> Tensor:
        """Biases of shape (G, T, T)."""
        place = torch.arange(num_frames, device=self.table.weight.device)
        buckets = distance_buckets(place[None] - place[:, None], self.num_buckets, self.max_distance)
        return self.table(buckets).permute(2, 0, 1)


def distance_buckets(distance: Tensor, num_buckets: int, max_distance: int) -> Tensor:
    """Bucket of each signed distance: half of them for the past, half for the future (T5's bidirectional buckets)."""
    half = num_buckets // 2
    side = (distance > 0).long() * half
    far = distance.abs()
    exact = half // 2
    logarithm = torch.log(far.clamp(min=1).float() / exact) / math.log(max(max_distance, exact + 1) / exact)
    return side + torch.where(far < exact, far, (exact + (logarithm * (half - exact)).long()).clamp(max=half - 1))


def visible(num_frames: int, causal: bool, window: int | None, like: Tensor) -> Tensor | None:
    """0 where frame t may see frame u and -inf elsewhere, shape (T, T); None if it may see all."""
    if not causal and (window is None or window >= num_frames - 1):
        return None
    place = torch.arange(num_frames, device=like.device)
    distance = place[None] - place[:, None]
    allowed = torch.ones_like(distance, dtype=torch.bool)
    if causal:
        allowed &= distance <= 0
    if window is not None:
        allowed &= distance.abs() <= window
    return torch.zeros(num_frames, num_frames, dtype=like.dtype, device=like.device).masked_fill(~allowed, -math.inf)


def _placed(x_BTPC: Tensor, position: nn.Linear | None) -> Tensor:
    if position is None:
        return x_BTPC
    place_TC = position(sines(torch.arange(x_BTPC.shape[1], device=x_BTPC.device), _SINES).to(position.weight.dtype))
    return x_BTPC + place_TC[:, None]
