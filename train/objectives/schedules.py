"""Schedules: noise level t in [0, 1] to (alpha, sigma) of x = alpha z + sigma n.

    flow            alpha = 1 - t, sigma = t: a straight line                        Liu et al. 2022, eq. 1
    cosine          alpha^2 = f(t) / f(0), f = cos^2(pi/2 (t + s) / (1 + s))         Nichol and Dhariwal 2021, eq. 17
    linear          betas evenly spaced                                              Ho et al. 2020, section 4
    scaled_linear   square roots of betas evenly spaced (what latent diffusion and LVDM call "linear")

All but flow preserve variance: alpha^2 + sigma^2 = 1. The last two are tables of discrete levels: level k of N stands
at t = k / N, t = 0 is data, in between alpha^2 is interpolated.
"""

import math
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from shards.config import Config


class FlowScheduleConfig(Config):
    """Straight line from data to noise (rectified flow)."""

    kind: Literal["flow"] = "flow"


class CosineScheduleConfig(Config):
    """Variance preserving, alpha a quarter of a cosine; ends in pure noise."""

    kind: Literal["cosine"] = "cosine"
    offset: float = Field(default=0.0, ge=0, lt=1, description="s: more noise at the first levels; 0.008 there.")


class _BetaTableConfig(Config):
    num_steps: int = Field(default=1000, ge=2, description="Number of discrete noise levels.")
    zero_terminal_snr: bool = Field(
        default=False, description="Shift and scale alpha so that the last level is pure noise (Lin et al. 2024)."
    )


class LinearScheduleConfig(_BetaTableConfig):
    """Discrete betas that are evenly spaced."""

    kind: Literal["linear"] = "linear"
    beta_start: float = Field(default=0.0001, gt=0, lt=1, description="Beta of the first level.")
    beta_end: float = Field(default=0.02, gt=0, lt=1, description="Beta of the last level.")


class ScaledLinearScheduleConfig(_BetaTableConfig):
    """Discrete betas whose square roots are evenly spaced."""

    kind: Literal["scaled_linear"] = "scaled_linear"
    beta_start: float = Field(default=0.0015, gt=0, lt=1, description="Beta of the first level.")
    beta_end: float = Field(default=0.0155, gt=0, lt=1, description="Beta of the last level.")


BetaScheduleConfig = LinearScheduleConfig | ScaledLinearScheduleConfig
ScheduleConfig = Annotated[
    FlowScheduleConfig | CosineScheduleConfig | LinearScheduleConfig | ScaledLinearScheduleConfig,
    Field(discriminator="kind"),
]


def alpha_sigma(config: ScheduleConfig, t: Tensor) -> tuple[Tensor, Tensor]:
    """Scale of the data and of the noise at noise level t, in t's shape and type."""
    if isinstance(config, FlowScheduleConfig):
        return 1 - t, t
    if isinstance(config, CosineScheduleConfig):
        angle = (t + config.offset) / (1 + config.offset) * math.pi / 2
        alpha = torch.cos(angle) / math.cos(config.offset / (1 + config.offset) * math.pi / 2)
        return alpha, torch.sin(angle) if config.offset == 0 else (1 - alpha.square()).clamp(min=0).sqrt()
    alpha_bar = _interpolate(alpha_bar_table(config).to(t.device), t.double())
    return alpha_bar.sqrt().to(t), (1 - alpha_bar).sqrt().to(t)


def ends_in_pure_noise(config: ScheduleConfig) -> bool:
    """Whether alpha(1) is 0: then nothing of the data is left at t = 1 and an eps target says nothing there."""
    return not isinstance(config, BetaScheduleConfig) or config.zero_terminal_snr


def preserves_variance(config: ScheduleConfig) -> bool:
    """Whether alpha^2 + sigma^2 is 1 at every level, as rules on the signal-to-noise ratio assume."""
    return not isinstance(config, FlowScheduleConfig)


def num_levels(config: ScheduleConfig) -> int:
    """Levels of a discrete schedule; 1000 for a continuous one, the count that samplers divide by convention."""
    return config.num_steps if isinstance(config, BetaScheduleConfig) else 1000


def alpha_bar_table(config: BetaScheduleConfig) -> Tensor:
    """Float64 table of alpha-bar = alpha^2 = prod(1 - beta), preceded by 1 at t = 0; entry k is at t = k / num_steps.

    Source: Ho et al. 2020, section 2; betas as in LVDM's `make_beta_schedule`.
    """
    if isinstance(config, ScaledLinearScheduleConfig):
        start, end = config.beta_start**0.5, config.beta_end**0.5
        beta = torch.linspace(start, end, config.num_steps, dtype=torch.float64).square()
    else:
        beta = torch.linspace(config.beta_start, config.beta_end, config.num_steps, dtype=torch.float64)
    table = torch.cumprod(1 - beta, dim=0)
    if config.zero_terminal_snr:
        table = _until_pure_noise(table)
    return torch.cat([torch.ones(1, dtype=torch.float64), table])


def _until_pure_noise(alpha_bar: Tensor) -> Tensor:
    """Shift alpha so that it ends at 0, scale it so that it begins where it began (Lin et al. 2024, algorithm 1)."""
    alpha = alpha_bar.sqrt()
    return ((alpha - alpha[-1]) * alpha[0] / (alpha[0] - alpha[-1])).square()


def _interpolate(table: Tensor, t: Tensor) -> Tensor:
    position = t.clamp(0, 1) * (len(table) - 1)
    whole = position.round()
    position = torch.where((position - whole).abs() < 1e-6, whole, position)  # k / N * N is not always k
    below = position.floor().long().clamp(max=len(table) - 2)
    return torch.lerp(table[below], table[below + 1], position - below)
