"""Weights of the error by noise level.

uniform          1 on the output's own error
inverse_square   min(1 / sigma^2, cap) on the squared error of z: near data a small error counts more
min_snr          min(alpha^2 / sigma^2, gamma) on the squared error of z    Hang et al. 2023, eq. 8
"""

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from shards.config import Config
from train.objectives.targets import Target, z_per_output


class UniformWeightConfig(Config):
    """The output's own error, alike at every level."""

    kind: Literal["uniform"] = "uniform"


class InverseSquareWeightConfig(Config):
    """One over the variance of the noise, capped, on the error of the clean latent."""

    kind: Literal["inverse_square"] = "inverse_square"
    cap: float = Field(default=3.0, gt=0, description="Upper bound of the weight.")


class MinSnrWeightConfig(Config):
    """Signal-to-noise ratio, capped, on the error of the clean latent."""

    kind: Literal["min_snr"] = "min_snr"
    gamma: float = Field(default=5.0, gt=0, description="Upper bound of the weight; the paper's is 5.")


WeightConfig = Annotated[
    UniformWeightConfig | InverseSquareWeightConfig | MinSnrWeightConfig, Field(discriminator="kind")
]


def loss_weight(config: WeightConfig, target: Target, alpha: Tensor, sigma: Tensor) -> Tensor:
    """Factor of the error of the network's output (squared, but for `uniform`), in the shape of alpha."""
    if isinstance(config, UniformWeightConfig):
        return alpha * 0 + 1
    smallest = 1e-4  # sigma is 0 only at t = 0, where every weight has met its cap
    if isinstance(config, InverseSquareWeightConfig):
        on_z = (1 / sigma.clamp(min=smallest)).square().clamp(max=config.cap)
    else:
        on_z = (alpha / sigma.clamp(min=smallest)).square().clamp(max=config.gamma)
    return on_z * z_per_output(target, alpha, sigma).square()
