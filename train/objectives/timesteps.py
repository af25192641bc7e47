"""Which noise levels are trained: from standard draws to t in [0, 1].

uniform        t = u
logit_normal   t = sigmoid(mean + std n)                     Esser et al. 2024 (SD3), eq. 19
mode           t = 1 - u - scale (cos^2(pi/2 u) - 1 + u)     Esser et al. 2024 (SD3), eq. 20

Then the odds of t are multiplied by `shift`. logit_normal can give a share of the clips a level uniform in the tail.
"""

import math
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from shards.config import Config


class _ShiftedConfig(Config):
    shift: float = Field(
        default=1.0, gt=0, description="Moves levels towards noise: odds of t are multiplied by it; 1 is none."
    )


class UniformTimestepsConfig(_ShiftedConfig):
    """All levels alike."""

    kind: Literal["uniform"] = "uniform"


class ModeTimestepsConfig(_ShiftedConfig):
    """Levels near the middle (scale > 0) or near both ends (scale < 0) more often."""

    kind: Literal["mode"] = "mode"
    scale: float = Field(default=1.29, ge=-1, le=1.75, description="0 is uniform.")


class LogitNormalTimestepsConfig(Config):
    """A bell over the levels, with a uniform tail near noise."""

    kind: Literal["logit_normal"] = "logit_normal"
    mean: float = Field(default=0.0, description="Of the logit of t before the shift.")
    std: float = Field(default=1.0, gt=0, description="Of the logit of t.")
    shift: float = Field(
        default=3.0, gt=0, description="Moves levels towards noise: odds of t are multiplied by it; 1 is none."
    )
    tail_share: float = Field(
        default=0.15, ge=0, le=1, description="Share of clips whose level is uniform in [tail_start, 1]."
    )
    tail_start: float = Field(
        default=0.85, ge=0, le=1, description="Lower end of the tail: layout and motion are decided there."
    )


TimestepsConfig = Annotated[
    UniformTimestepsConfig | ModeTimestepsConfig | LogitNormalTimestepsConfig, Field(discriminator="kind")
]


def shifted(t: Tensor, shift: float) -> Tensor:
    """Multiply the odds t / (1 - t) by shift (Esser et al. 2024, eq. 23)."""
    return shift * t / (1 + (shift - 1) * t)


def training_t(config: TimestepsConfig, normal: Tensor, choice: Tensor, uniform: Tensor) -> Tensor:
    """Noise levels of a batch.

    Args:
        config: which density.
        normal: standard normal draws.
        choice: uniform draws in [0, 1), same shape: below tail_share takes the tail.
        uniform: uniform draws in [0, 1), same shape: u above, or the place in the tail.
    """
    if isinstance(config, UniformTimestepsConfig):
        return shifted(uniform, config.shift)
    if isinstance(config, ModeTimestepsConfig):
        bent = torch.cos(math.pi * uniform / 2).square() - 1 + uniform
        return shifted((1 - uniform - config.scale * bent).clamp(0, 1), config.shift)
    body = shifted(torch.sigmoid(config.mean + config.std * normal), config.shift)
    return torch.where(choice < config.tail_share, config.tail_start + (1 - config.tail_start) * uniform, body)
