"""Noise priors: how the noise of a clip's frames hangs together. Each declares its T x T covariance.

independent white noise in, correlated noise out, so a prior is a T x T matrix R with R R^T = covariance.

    independent   identity
    mixed         a shared part: n_t = sqrt(share) n + sqrt(1 - share) n'_t        Ge et al. 2023 (PYoCo), eq. 6
    progressive   a random walk: n_t = sqrt(share) n_(t-1) + sqrt(1 - share) n'_t  Ge et al. 2023 (PYoCo), eq. 7
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from shards.config import Config


class NoisePriorConfig(Config):
    """Correlation of the noise between frames; each frame alone is white noise of variance 1."""

    kind: Literal["independent", "mixed", "progressive"] = Field(default="independent", description="Which prior.")
    share: float = Field(
        default=0.5, ge=0, lt=1, description="Variance that neighbouring frames share; `independent` shares none."
    )


def covariance(config: NoisePriorConfig, num_frames: int) -> Tensor:
    """Float64 covariance of the noise between frames, shape (T, T), ones on the diagonal."""
    distance_TT = torch.arange(num_frames, dtype=torch.float64).diff(prepend=torch.zeros(1)).cumsum(0)
    distance_TT = (distance_TT[:, None] - distance_TT[None]).abs()
    share = 0.0 if config.kind == "independent" else config.share
    if config.kind == "progressive":
        return share ** (distance_TT / 2)
    return torch.where(distance_TT == 0, 1.0, share).double()


def correlate(config: NoisePriorConfig, white_BTCHW: Tensor) -> Tensor:
    """Give white noise the prior's covariance between frames."""
    factor_TT = torch.linalg.cholesky(covariance(config, white_BTCHW.shape[1])).to(white_BTCHW)
    return torch.einsum("st,btchw->bschw", factor_TT, white_BTCHW)
