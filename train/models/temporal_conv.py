"""Mixers without attention: convolution over time, stacks of them, and shifted channels."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from shards.config import Config
from train.models.layers import channels_first, channels_last, check_divides, group_norm, zeroed

Init = Literal["identity", "random"]


class Mixer(nn.Module):
    """What every mixer is: frames in, frames out."""

    def forward(self, x_NCHW: Tensor, num_frames: int) -> Tensor:
        """Mix the frames of each clip; N = B * num_frames."""
        size = x_NCHW.shape[2:]
        x_BTPC = channels_last(x_NCHW).flatten(1, 2).unflatten(0, (-1, num_frames))
        return channels_first(self.mix(x_BTPC).flatten(0, 1).unflatten(1, size))

    def mix(self, x_BTPC: Tensor) -> Tensor:
        """The same on clips of places."""
        raise NotImplementedError


class ConvMixerConfig(Config):
    """Convolution over time: two layers, the first sees neighbours."""

    kind: Literal["conv"] = "conv"
    kernel: Literal[3, 5] = Field(default=3, description="Frames that one output frame sees.")
    causal: bool = Field(default=False, description="A frame sees only frames before it.")
    init: Init = Field(default="identity", description="Weights of the last layer: zero, or drawn.")


class ConvMixer(Mixer):
    """x + W2 silu(W1 [x(t-1), x(t), x(t+1)]): neighbours stacked as channels, so one dense product per frame."""

    def __init__(self, config: ConvMixerConfig, channels: int) -> None:
        super().__init__()
        self.kernel, self.causal = config.kernel, config.causal
        self.norm = nn.GroupNorm(8, channels)
        self.first = nn.Linear(channels * config.kernel, channels)
        self.last = _ended(nn.Linear(channels, channels), config.init)

    def mix(self, x_BTPC: Tensor) -> Tensor:
        """Mix each frame with its neighbours; beyond the ends there is zero."""
        num_frames = x_BTPC.shape[1]
        h_BTPC = group_norm(self.norm, x_BTPC.flatten(0, 1)[:, None]).squeeze(1).unflatten(0, (-1, num_frames))
        padded = functional.pad(h_BTPC, (0, 0, 0, 0, *_reach(self.kernel, self.causal)))
        stacked = torch.cat([padded[:, k : k + num_frames] for k in range(self.kernel)], dim=-1)
        return x_BTPC + self.last(functional.silu(self.first(stacked)))


class ConvStackMixerConfig(Config):
    """Several convolutions over time in one residual branch, each behind a norm over the clip (ModelScopeT2V)."""

    kind: Literal["conv_stack"] = "conv_stack"
    kernel: Literal[3, 5] = Field(default=3, description="Frames that one output frame of a layer sees.")
    num_layers: int = Field(default=4, ge=1, description="Convolutions in the branch.")
    norm_groups: int = Field(default=32, ge=1, description="Groups of GroupNorm; divides the channels.")
    causal: bool = Field(
        default=False, description="A frame sees only frames before it; norms then go over each frame alone."
    )
    init: Init = Field(default="identity", description="Weights of the last layer: zero, or drawn.")


class ConvStackMixer(Mixer):
    """x + conv(silu(norm(... x))): a 2-D convolution with kernel (k, 1) over (T, P), in the layout that memory has."""

    def __init__(self, config: ConvStackMixerConfig, channels: int) -> None:
        super().__init__()
        check_divides("mixer.norm_groups", config.norm_groups, channels)
        self.reach, self.causal = _reach(config.kernel, config.causal), config.causal
        layers, padding = range(config.num_layers), (0 if config.causal else config.kernel // 2, 0)
        self.norms = nn.ModuleList([nn.GroupNorm(config.norm_groups, channels) for _ in layers])
        self.convs = nn.ModuleList([nn.Conv2d(channels, channels, (config.kernel, 1), padding=padding) for _ in layers])
        if config.init == "identity":
            for parameter in self.convs[-1].parameters():
                nn.init.zeros_(parameter)

    def mix(self, x_BTPC: Tensor) -> Tensor:
        """Mix frames at each place; norms go over the clip, or over each frame if causal."""
        h_BCTP = x_BTPC.permute(0, 3, 1, 2)
        for norm, conv in zip(self.norms, self.convs, strict=True):
            h_BCTP = functional.silu(self._normed(norm, h_BCTP))
            h_BCTP = conv(functional.pad(h_BCTP, (0, 0, *self.reach)) if self.causal else h_BCTP)
        return x_BTPC + h_BCTP.permute(0, 2, 3, 1)

    def _normed(self, norm: nn.Module, h_BCTP: Tensor) -> Tensor:
        if not self.causal:
            return norm(h_BCTP)
        num_frames = h_BCTP.shape[2]
        h_N1PC = h_BCTP.permute(0, 2, 3, 1).flatten(0, 1)[:, None]
        assert isinstance(norm, nn.GroupNorm)
        return group_norm(norm, h_N1PC).squeeze(1).unflatten(0, (-1, num_frames)).permute(0, 3, 1, 2)


class ShiftMixerConfig(Config):
    """Some channels come from the neighbouring frame (Lin et al. 2019, TSM; Latent-Shift); costs no product."""

    kind: Literal["shift"] = "shift"
    share: float = Field(default=0.25, gt=0, le=1, description="Share of the channels that come from another frame.")
    causal: bool = Field(default=False, description="All of them from the frame before; else half from each side.")
    init: Init = Field(
        default="identity", description="identity: a learned gate per channel that starts at 0; random: no gate."
    )


class ShiftMixer(Mixer):
    """x + gate (shifted x - x) on the shifted channels."""

    def __init__(self, config: ShiftMixerConfig, channels: int) -> None:
        super().__init__()
        self.forward_channels = round(channels * config.share * (1.0 if config.causal else 0.5))
        self.backward_channels = 0 if config.causal else self.forward_channels
        moved = self.forward_channels + self.backward_channels
        self.gate_C = nn.Parameter(torch.zeros(moved)) if config.init == "identity" else None

    def mix(self, x_BTPC: Tensor) -> Tensor:
        """Take channels from the frame before and from the frame behind; beyond the ends there is zero."""
        later, earlier = self.forward_channels, self.backward_channels
        moved = later + earlier
        from_before = functional.pad(x_BTPC[:, :-1, :, :later], (0, 0, 0, 0, 1, 0))
        from_behind = functional.pad(x_BTPC[:, 1:, :, later:moved], (0, 0, 0, 0, 0, 1))
        shifted = torch.cat([from_before, from_behind], dim=-1)
        own = x_BTPC[..., :moved]
        mixed = shifted if self.gate_C is None else own + self.gate_C * (shifted - own)
        return torch.cat([mixed, x_BTPC[..., moved:]], dim=-1)


def _reach(kernel: int, causal: bool) -> tuple[int, int]:
    """Frames of padding before and behind a clip."""
    return (kernel - 1, 0) if causal else (kernel // 2, kernel // 2)


def _ended(layer: nn.Linear | nn.Conv2d, init: Init) -> nn.Module:
    return zeroed(layer) if init == "identity" else layer
