"""Scale of latents: per channel, measured on the first batches, stored in the checkpoint."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor

from shards.config import Config
from shards.errors import ContractError
from train.parallel import World, sum_over_ranks


class LatentsConfig(Config):
    """How latents are brought to about mean 0 and variance 1."""

    num_batches: int = Field(default=8, ge=1, description="First batches that mean and deviation are measured on.")
    std_floor: float = Field(
        default=0.25, gt=0, le=1, description="Smallest deviation, as a share of the largest channel's."
    )
    stride: int = Field(
        default=1,
        ge=1,
        description="Every so many-th latent frame of a clip is kept: key frames of a codec that joins frames, so that "
        "each still means neighbouring pictures.",
    )

    def kept(self, latent_TCHW: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
        """Shape of what is kept of a clip's latent: `z[::stride]`."""
        return -(-latent_TCHW[0] // self.stride), *latent_TCHW[1:]


@dataclass(frozen=True)
class LatentScale:
    """Mean and deviation per channel, float32 of shape (C)."""

    mean_C: Tensor
    std_C: Tensor

    def normalize(self, z_BTCHW: Tensor) -> Tensor:
        """Codec latents to model latents."""
        return (z_BTCHW - _channels(self.mean_C)) / _channels(self.std_C)

    def restore(self, z_BTCHW: Tensor) -> Tensor:
        """Model latents to codec latents."""
        return z_BTCHW * _channels(self.std_C) + _channels(self.mean_C)

    def to(self, device: torch.device) -> "LatentScale":
        """The same on a device."""
        return LatentScale(self.mean_C.to(device), self.std_C.to(device))

    def tensors(self) -> dict[str, Tensor]:
        """By name, for the checkpoint."""
        return {"mean_C": self.mean_C.cpu(), "std_C": self.std_C.cpu()}


@torch.no_grad()
def measure(config: LatentsConfig, latents: Iterable[Tensor], world: World) -> LatentScale:
    """Mean and max(deviation, floor * largest deviation) of each channel over codec latents z_BTCHW of all ranks.

    Raises:
        ContractError: every video is one flat colour.
    """
    sums: list[Tensor] = []
    for z_BTCHW in latents:
        z_CM = z_BTCHW.double().transpose(0, 2).flatten(1)
        sums.append(torch.stack([z_CM.sum(1), z_CM.square().sum(1), torch.full_like(z_CM[:, 0], z_CM.shape[1])]))
    total_C, square_C, count_C = sum_over_ranks(torch.stack(sums).sum(0), world)
    mean_C = total_C / count_C
    std_C = (square_C / count_C - mean_C.square()).clamp(min=0).sqrt()
    if not float(std_C.max()) > 0:
        raise ContractError("latents have deviation 0; the videos show one flat colour; check data.view and the shards")
    return LatentScale(mean_C.float(), std_C.clamp(min=config.std_floor * std_C.max()).float())


def _channels(value_C: Tensor) -> Tensor:
    return value_C[:, None, None]
