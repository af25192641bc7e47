"""Which noise levels are trained: from standard draws to t in (0, 1)."""

import torch
from pydantic import Field
from torch import Tensor

from shards.config import Config


class TimestepConfig(Config):
    """Density of noise levels in training."""

    shift: float = Field(
        default=3.0, gt=0, description="Moves levels towards noise: odds of t are multiplied by it; 1 is none."
    )
    tail_share: float = Field(
        default=0.15, ge=0, le=1, description="Share of clips whose level is uniform in [tail_start, 1]."
    )
    tail_start: float = Field(
        default=0.85, ge=0, le=1, description="Lower end of the tail: layout and motion are decided there."
    )


def shifted(t: Tensor, shift: float) -> Tensor:
    """Multiply the odds t / (1 - t) by shift (Esser et al. 2024, eq. 23)."""
    return shift * t / (1 + (shift - 1) * t)


def training_t(config: TimestepConfig, normal: Tensor, choice: Tensor, tail: Tensor) -> Tensor:
    """Logit-normal levels (Esser et al. 2024, eq. 19), shifted, with a uniform tail.

    Args:
        config: shift and tail.
        normal: standard normal draws.
        choice: uniform draws in [0, 1), same shape: below tail_share takes the tail.
        tail: uniform draws in [0, 1), same shape: place in the tail.
    """
    body = shifted(torch.sigmoid(normal), config.shift)
    return torch.where(choice < config.tail_share, config.tail_start + (1 - config.tail_start) * tail, body)
