"""Weights of the squared error by noise level.

uniform          1 on the output's own error
inverse_square   min(1 / sigma^2, cap) on the error of z: near data a small error counts more
min_snr          min(alpha^2 / sigma^2, cap) on the error of z    Hang et al. 2023, eq. 8
"""

from typing import Literal

from pydantic import Field
from torch import Tensor

from shards.config import Config
from train.objectives.targets import Target, z_per_output


class WeightConfig(Config):
    """Weight of the loss by noise level."""

    kind: Literal["uniform", "inverse_square", "min_snr"] = Field(
        default="inverse_square",
        description="Which rule: the output's own error, or a rule on the error of the clean latent.",
    )
    cap: float = Field(
        default=3.0, gt=0, description="Upper bound of the weight; `uniform` is 1 if the cap is at least 1."
    )


def loss_weight(config: WeightConfig, target: Target, alpha: Tensor, sigma: Tensor) -> Tensor:
    """Factor of the squared error of the network's output, in the shape of alpha."""
    if config.kind == "uniform":
        return (alpha * 0 + 1).clamp(max=config.cap)
    smallest = 1e-4  # sigma is 0 only at t = 0, where every weight has met its cap
    ratio = 1 / sigma.clamp(min=smallest) if config.kind == "inverse_square" else alpha / sigma.clamp(min=smallest)
    on_z = ratio.square().clamp(max=config.cap)
    return on_z * z_per_output(target, alpha, sigma).square()
