"""Noise priors: how the noise of a clip's frames hangs together. Each declares its T x T covariance.

A prior is made of independent white noise: n = R white with R R^T = covariance_TT; each frame alone has variance 1.
Whoever needs noise (loss, start of a sampler, its fresh noise) draws white noise by key and hands it to `correlate`.

    independent     n_t = n'_t
    mixed           n_t = sqrt(a / (1 + a)) n + sqrt(1 / (1 + a)) n'_t,   a = alpha^2
                    Ge et al. 2023 (PYoCo), mixed noise; the parts' variances are a / (1 + a) and 1 / (1 + a)
    progressive     n_t = sqrt(a / (1 + a)) n_(t-1) + sqrt(1 / (1 + a)) n'_t
                    Ge et al. 2023 (PYoCo), progressive noise: a random walk of variance 1
    base_residual   n_t = sqrt(lambda_t) b + sqrt(1 - lambda_t) r_t,   lambda of the middle frame 1
                    Luo et al. 2023 (VideoFusion), decomposed diffusion: base noise b, residual noise r_t
"""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from shards.config import Config


class IndependentNoiseConfig(Config):
    """Frames share no noise."""

    kind: Literal["independent"] = "independent"


class MixedNoiseConfig(Config):
    """All frames share one part."""

    kind: Literal["mixed"] = "mixed"
    alpha: float = Field(default=1.0, ge=0, le=100, description="Deviation of the shared part over the frame's own.")


class ProgressiveNoiseConfig(Config):
    """Each frame goes on from the one before."""

    kind: Literal["progressive"] = "progressive"
    alpha: float = Field(
        default=2.0, ge=0, le=100, description="Deviation of what a frame takes over from the one before over its own."
    )


class BaseResidualNoiseConfig(Config):
    """The middle frame's noise is the base, the others add a residual to it."""

    kind: Literal["base_residual"] = "base_residual"
    base_share: float = Field(default=0.5, ge=0, lt=1, description="lambda: variance of the base in the other frames.")


NoisePriorConfig = Annotated[
    IndependentNoiseConfig | MixedNoiseConfig | ProgressiveNoiseConfig | BaseResidualNoiseConfig,
    Field(discriminator="kind"),
]


def covariance(config: NoisePriorConfig, num_frames: int) -> Tensor:
    """Float64 covariance of the noise between frames, shape (T, T), ones on the diagonal."""
    if isinstance(config, BaseResidualNoiseConfig):
        lambda_T = torch.full((num_frames,), config.base_share, dtype=torch.float64)
        lambda_T[num_frames // 2] = 1
        shared_TT = (lambda_T[:, None] * lambda_T[None]).sqrt()
    elif isinstance(config, ProgressiveNoiseConfig):
        place_T = torch.arange(num_frames, dtype=torch.float64)
        kept = config.alpha / (1 + config.alpha**2) ** 0.5  # correlation of neighbours
        shared_TT = kept ** (place_T[:, None] - place_T[None]).abs()
    else:
        share = config.alpha**2 / (1 + config.alpha**2) if isinstance(config, MixedNoiseConfig) else 0.0
        shared_TT = torch.full((num_frames, num_frames), share, dtype=torch.float64)
    return shared_TT.fill_diagonal_(1.0)


def correlate(config: NoisePriorConfig, white_BTCHW: Tensor) -> Tensor:
    """Give white noise the prior's covariance between frames."""
    if isinstance(config, IndependentNoiseConfig):
        return white_BTCHW
    factor_TT = torch.linalg.cholesky(covariance(config, white_BTCHW.shape[1])).to(white_BTCHW)
    return torch.einsum("st,btchw->bschw", factor_TT, white_BTCHW)
