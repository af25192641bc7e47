"""Steps: from noise at t = 1 to data at t = 0, given the clean latent that the network implies.

DDIM (Song et al. 2021, eq. 12) needs nothing but x = alpha z + sigma n, so it serves every schedule, and its ancestral
form is DDPM's posterior. On the straight line (alpha, sigma) = (1 - t, t) its deterministic step is Euler's step along
the velocity n - z:

    alpha_s z + sigma_s (x - alpha_t z) / sigma_t = (s / t) x + (1 - s / t) z = x + (s - t) (x - z) / t
"""

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from shards.errors import ConfigError
from train.objectives.schedules import ScheduleConfig, alpha_sigma, num_levels
from train.objectives.timesteps import shifted
from train.sample.config import DdimConfig, DdpmConfig, EulerConfig, SamplerConfig

Predict = Callable[[Tensor, Tensor], Tensor]  # (x_BTCHW, t_BT) -> z_BTCHW


def levels(config: SamplerConfig, schedule: ScheduleConfig) -> list[float]:
    """Noise levels visited, from noise to data; one more than steps.

    Raises:
        ConfigError: more steps than levels.
    """
    if isinstance(config, EulerConfig):
        return shifted(torch.linspace(1, 0, config.steps + 1, dtype=torch.float64), config.shift).tolist()
    count = num_levels(schedule)
    last = config.last_level / count
    if config.spacing == "trailing":
        visited = torch.linspace(1, 0, config.steps + 1, dtype=torch.float64)[:-1]
    else:
        first, stride = 1 + config.leading_offset, count // config.steps
        if not stride or first + stride * (config.steps - 1) > count:
            raise ConfigError(
                f"sampler.steps is {config.steps} with leading_offset {config.leading_offset}; at most {count} levels "
                "are there; lower them"
            )
        visited = (torch.arange(config.steps, dtype=torch.float64).flip(0) * stride + first) / count
    if visited[-1] <= last:
        raise ConfigError(
            f"sampler.last_level is {config.last_level}; a level below the last visited one, {float(visited[-1]):g} of "
            "1, is allowed; lower it or sampler.steps"
        )
    return [*shifted(visited, config.shift).tolist(), last]


def run(
    config: SamplerConfig,
    schedule: ScheduleConfig,
    predict: Predict,
    noise_BTCHW: Tensor,
    fresh: Callable[[], Tensor],
) -> Tensor:
    """From noise to a clean latent.

    Args:
        config: which steps.
        schedule: of the objective that trained the network.
        predict: (x_BTCHW, t_BT) to the clean latent, guided.
        noise_BTCHW: where to start.
        fresh: gives noise in the shape of noise_BTCHW; asked once per step that adds some.

    Raises:
        ConfigError: the steps do not fit the schedule.
    """
    check_sampler(config, schedule)
    x_BTCHW = noise_BTCHW
    for t, s in pairwise(levels(config, schedule)):
        t_BT = torch.full(x_BTCHW.shape[:2], t, dtype=x_BTCHW.dtype, device=x_BTCHW.device)
        z_BTCHW = predict(x_BTCHW, t_BT)
        if isinstance(config, EulerConfig):
            x_BTCHW = x_BTCHW + (s - t) * (x_BTCHW - z_BTCHW) / t
            continue
        replaced, added = noise_scales(config, schedule, t, s)
        x_BTCHW = ddim_step(schedule, x_BTCHW, z_BTCHW, (t, s), replaced)
        if added:
            x_BTCHW = x_BTCHW + added * fresh()
    return x_BTCHW


def check_sampler(config: SamplerConfig, schedule: ScheduleConfig) -> None:
    """Refuse steps that do not fit the schedule.

    Raises:
        ConfigError: Euler's step off the straight line.
    """
    if isinstance(config, EulerConfig) and schedule.kind != "flow":
        raise ConfigError(
            f"sampler is euler with schedule {schedule.kind}, whose path is no straight line; schedule flow is allowed "
            "with it, ddim and ddpm with any; change sampler.kind"
        )


def ddim_step(schedule: ScheduleConfig, x: Tensor, z: Tensor, levels: tuple[float, float], replaced: float) -> Tensor:
    """Mean of a step (eq. 12): keep the clean latent, rescale its noise, leave out `replaced` of its scale."""
    (alpha_t, sigma_t), (alpha_s, sigma_s) = (_scales(schedule, level) for level in levels)
    noise = (x - alpha_t * z) / sigma_t
    return alpha_s * z + math.sqrt(max(sigma_s**2 - replaced**2, 0.0)) * noise


def noise_scales(config: DdimConfig | DdpmConfig, schedule: ScheduleConfig, t: float, s: float) -> tuple[float, float]:
    """Scale of the noise that a step leaves out, and of the fresh noise that it adds."""
    ancestral = ancestral_scale(schedule, t, s)
    if isinstance(config, DdimConfig):
        return config.eta * ancestral, config.eta * ancestral
    if config.variance == "small" or not ancestral:
        return ancestral, ancestral
    (alpha_t, sigma_t), (alpha_s, sigma_s) = (_scales(schedule, level) for level in (t, s))
    return ancestral, math.sqrt(max(sigma_t**2 - (alpha_t * sigma_s / alpha_s) ** 2, 0.0))


def ancestral_scale(schedule: ScheduleConfig, t: float, s: float) -> float:
    """Deviation of the posterior of x_s given x_t and z: eq. 16 at eta = 1, for any alpha and sigma."""
    (alpha_t, sigma_t), (alpha_s, sigma_s) = (_scales(schedule, level) for level in (t, s))
    kept = alpha_t * sigma_s / (alpha_s * sigma_t)
    return sigma_s * math.sqrt(max(1 - kept**2, 0.0))


def _scales(schedule: ScheduleConfig, level: float) -> tuple[float, float]:
    alpha, sigma = alpha_sigma(schedule, torch.tensor(level, dtype=torch.float64))
    return float(alpha), float(sigma)
