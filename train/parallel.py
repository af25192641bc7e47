"""The world of ranks, and FSDP2 applied to a finished model. One rank is plain torch: nothing is wrapped.

Only this file and run_torchrun.py know torch.distributed.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from train.models.sites import Site


@dataclass(frozen=True)
class World:
    """Who this process is among all that train together."""

    device: torch.device
    rank: int = 0
    size: int = 1
    mesh: DeviceMesh | None = None

    @property
    def is_first(self) -> bool:
        """Whether this rank writes files."""
        return self.rank == 0


def shard(model: nn.Module, world: World) -> nn.Module:
    """Shard parameters, gradients and optimiser state over the ranks, site by site; one rank leaves the model alone."""
    if world.mesh is None:
        return model
    # Sites return views; the warning is about in-place operations on them, of which there are none.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module", category=UserWarning)
    for module in model.modules():
        if isinstance(module, Site):
            fully_shard(module, mesh=world.mesh)
    fully_shard(model, mesh=world.mesh)
    return model


def whole(tensor: Tensor) -> Tensor:
    """The whole of a possibly sharded tensor, on its device; every rank must call it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def full(tensor: Tensor) -> Tensor:
    """The whole of a possibly sharded tensor, on the CPU; every rank must call it."""
    return whole(tensor).detach().cpu()


def like(values: Tensor, reference: Tensor) -> Tensor:
    """A whole tensor laid out as the reference: sharded alike, or on its device; may be the tensor itself."""
    if isinstance(reference, DTensor):
        return distribute_tensor(values.to(reference.device), reference.device_mesh, reference.placements)
    return values.to(reference.device)


def mean_over_ranks(values: Tensor, world: World) -> Tensor:
    """Mean of a tensor over ranks."""
    return sum_over_ranks(values, world) / world.size


def sum_over_ranks(values: Tensor, world: World) -> Tensor:
    """Sum of a tensor over ranks; with one rank the tensor itself."""
    if world.size == 1:
        return values
    total = values.clone()
    dist.all_reduce(total)
    return total


def from_first_rank(value: float, world: World) -> float:
    """The first rank's value, on every rank."""
    if world.size == 1:
        return value
    shared = torch.tensor(value, dtype=torch.float64, device=world.device)
    dist.broadcast(shared, src=0)
    return float(shared)


def from_all_ranks(value: Any, world: World) -> list[Any]:
    """What every rank has, by rank, on every rank; small JSON-like values."""
    if world.size == 1:
        return [value]
    values: list[Any] = [None] * world.size
    dist.all_gather_object(values, value)
    return values


def wait_for_all(world: World) -> None:
    """Return when every rank is here."""
    if world.size > 1:
        dist.barrier()
