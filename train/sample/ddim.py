"""Samplers: from noise at t = 1 to data at t = 0, given the clean latent that the network implies.

DDIM (Song et al. 2021, eq. 12) needs nothing but x = alpha z + sigma n, so it serves every schedule. On the straight
line (alpha, sigma) = (1 - t, t) its deterministic step is Euler's step along the velocity n - z:

    alpha_s z + sigma_s (x - alpha_t z) / sigma_t = (s / t) x + (1 - s / t) z = x + (s - t) (x - z) / t
"""

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from pydantic import Field
from torch import Tensor

from shards.config import Config
from train.objectives.schedules import ScheduleConfig, alpha_sigma
from train.objectives.timesteps import shifted
from train.sample.guidance import Predict


class SamplerConfig(Config):
    """DDIM with classifier-free guidance."""

    steps: int = Field(default=16, ge=1, description="Network evaluations from noise to data.")
    guidance: float = Field(default=3.0, ge=0, description="Scale of classifier-free guidance; 1 is none.")
    eta: float = Field(
        default=0.0, ge=0, le=1, description="Share of fresh noise per step: 0 is deterministic, 1 is ancestral."
    )
    shift: float = Field(
        default=1.0, gt=0, description="Moves the levels visited towards noise, as in training; 1 is evenly spaced."
    )


def levels(config: SamplerConfig) -> list[float]:
    """Noise levels visited, from 1 to 0; one more than steps."""
    even = torch.linspace(1, 0, config.steps + 1, dtype=torch.float64)
    return shifted(even, config.shift).tolist()


def ddim(
    config: SamplerConfig,
    schedule: ScheduleConfig,
    predict: Predict,
    noise_BTCHW: Tensor,
    fresh: Callable[[], Tensor],
) -> Tensor:
    """Run the sampler.

    Args:
        config: steps, eta and spacing.
        schedule: of the objective that trained the network.
        predict: (x_BTCHW, t_BT) to the clean latent, guided.
        noise_BTCHW: where to start.
        fresh: gives noise in the shape of noise_BTCHW; asked once per step if eta > 0.
    """
    x_BTCHW, visited = noise_BTCHW, levels(config)
    for t, s in pairwise(visited):
        t_BT = torch.full(x_BTCHW.shape[:2], t, dtype=x_BTCHW.dtype, device=x_BTCHW.device)
        z_BTCHW = predict(x_BTCHW, t_BT)
        added = config.eta * ddim_noise_scale(schedule, t, s)
        step_noise = fresh() if added else torch.zeros_like(x_BTCHW)
        x_BTCHW = ddim_step(schedule, x_BTCHW, z_BTCHW, (t, s), added, step_noise)
    return x_BTCHW


def ddim_step(
    schedule: ScheduleConfig, x: Tensor, z: Tensor, levels: tuple[float, float], added: float, fresh: Tensor
) -> Tensor:
    """One step (eq. 12): keep the clean latent, rescale its noise, replace `added` of its scale by fresh noise."""
    (alpha_t, sigma_t), (alpha_s, sigma_s) = (_scales(schedule, level) for level in levels)
    noise = (x - alpha_t * z) / sigma_t
    return alpha_s * z + math.sqrt(max(sigma_s**2 - added**2, 0.0)) * noise + added * fresh


def ddim_noise_scale(schedule: ScheduleConfig, t: float, s: float) -> float:
    """Scale of fresh noise that makes the step from t to s ancestral (eq. 16 at eta = 1, for any alpha and sigma)."""
    (alpha_t, sigma_t), (alpha_s, sigma_s) = (_scales(schedule, level) for level in (t, s))
    kept = alpha_t * sigma_s / (alpha_s * sigma_t)
    return sigma_s * math.sqrt(max(1 - kept**2, 0.0))


def _scales(schedule: ScheduleConfig, level: float) -> tuple[float, float]:
    alpha, sigma = alpha_sigma(schedule, torch.tensor(level, dtype=torch.float64))
    return float(alpha), float(sigma)
