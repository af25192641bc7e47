"""Schedules: noise level t in [0, 1] to (alpha, sigma) of x = alpha z + sigma n."""

import math
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from shards.config import Config


class FlowScheduleConfig(Config):
    """Straight line from data to noise (rectified flow, Liu et al. 2022, eq. 1)."""

    kind: Literal["flow"] = "flow"


class CosineScheduleConfig(Config):
    """Variance preserving, alpha = cos(pi t / 2) (Nichol and Dhariwal 2021, eq. 17, offset 0)."""

    kind: Literal["cosine"] = "cosine"


class ScaledLinearScheduleConfig(Config):
    """Discrete betas whose square roots are evenly spaced (latent diffusion, LVDM), read at t by interpolation."""

    kind: Literal["scaled_linear"] = "scaled_linear"
    num_steps: int = Field(default=1000, ge=2, description="Number of discrete noise levels.")
    beta_start: float = Field(default=0.0015, gt=0, lt=1, description="Beta of the first level.")
    beta_end: float = Field(default=0.0155, gt=0, lt=1, description="Beta of the last level.")


ScheduleConfig = Annotated[
    FlowScheduleConfig | CosineScheduleConfig | ScaledLinearScheduleConfig, Field(discriminator="kind")
]


def alpha_sigma(config: ScheduleConfig, t: Tensor) -> tuple[Tensor, Tensor]:
    """Scale of the data and of the noise at noise level t, in t's shape and type."""
    if isinstance(config, FlowScheduleConfig):
        return 1 - t, t
    if isinstance(config, CosineScheduleConfig):
        return torch.cos(t * math.pi / 2), torch.sin(t * math.pi / 2)
    alpha_bar = _interpolate(scaled_linear_alpha_bar(config).to(t), t)
    return alpha_bar.sqrt(), (1 - alpha_bar).sqrt()


def ends_in_pure_noise(config: ScheduleConfig) -> bool:
    """Whether alpha(1) is 0: then nothing of the data is left at t = 1 and an eps target says nothing there."""
    return config.kind != "scaled_linear"


def scaled_linear_alpha_bar(config: ScaledLinearScheduleConfig) -> Tensor:
    """Float64 table of alpha-bar = prod(1 - beta), preceded by 1 at t = 0; entry k stands at t = k / num_steps.

    Source: Ho et al. 2020, section 2; betas as in LVDM's `make_beta_schedule("linear")`.
    """
    roots = torch.linspace(config.beta_start**0.5, config.beta_end**0.5, config.num_steps, dtype=torch.float64)
    return torch.cat([torch.ones(1, dtype=torch.float64), torch.cumprod(1 - roots**2, dim=0)])


def _interpolate(table: Tensor, t: Tensor) -> Tensor:
    position = t.clamp(0, 1) * (len(table) - 1)
    below = position.floor().long().clamp(max=len(table) - 2)
    return torch.lerp(table[below], table[below + 1], position - below)
