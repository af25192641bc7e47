"""The world of ranks; sharding, recomputation and compilation applied to a finished model, site by site.

One rank without options is plain torch: nothing is wrapped. Only this file, tensor_files.py and the rims run_*.py know
torch.distributed.
"""

import warnings
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
import torch.distributed as dist
from pydantic import Field
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils.checkpoint import checkpoint

from shards.config import Config
from shards.errors import ConfigError
from train.models.sites import Site


class ParallelConfig(Config):
    """How a finished model is laid over the ranks, and what it spends time on to save memory."""

    replicas: int = Field(
        default=1,
        ge=1,
        description="Groups of ranks that each hold the whole model in shards (HSDP); 1: one group of all ranks "
        "(FSDP). One group per node keeps gathering weights within a node.",
    )
    recompute: Literal["none", "sites"] = Field(
        default="none", description="sites: keep only the input of each site, compute the rest again backwards."
    )
    compile: Literal["none", "inductor", "aot_eager"] = Field(
        default="none", description="Compile each site with this backend of torch.compile; aot_eager is for tests."
    )


@dataclass(frozen=True)
class World:
    """Who this process is among all that train together.

    Attributes:
        device: of this process.
        rank: number of this process.
        size: number of processes.
        mesh: None with one rank; (shard) or (replicate, shard).
        beside: a second group of all ranks, for what goes on beside training.
    """

    device: torch.device
    rank: int = 0
    size: int = 1
    mesh: DeviceMesh | None = None
    beside: dist.ProcessGroup | None = None

    @property
    def is_first(self) -> bool:
        """Whether this rank writes files."""
        return self.rank == 0


def mesh_shape(config: ParallelConfig, size: int) -> dict[str, int]:
    """Names and sizes of the axes that so many ranks form.

    Raises:
        ConfigError: the replicas do not divide the ranks.
    """
    if config.replicas == 1:
        return {"shard": size}
    if size % config.replicas:
        raise ConfigError(
            f"parallel.replicas is {config.replicas} with {size} ranks; a divisor of the ranks is allowed; change one"
        )
    return {"replicate": config.replicas, "shard": size // config.replicas}


def lay_out(config: ParallelConfig, model: nn.Module, world: World) -> nn.Module:
    """Recompute, compile and shard a finished model site by site; its parameters keep their names.

    Sharded are parameters, gradients and optimiser state (FSDP2; Zhao et al. 2023, arXiv:2304.11277).
    """
    sites = [module for module in model.modules() if isinstance(module, Site)]
    for site in sites:
        if config.recompute == "sites":
            site.forward = partial(checkpoint, site.forward, use_reentrant=False, preserve_rng_state=False)
        if config.compile != "none":
            site.compile(backend=config.compile)
    if world.mesh is None:
        return model
    # Sites return views; the warning is about in-place operations on them, of which there are none.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module", category=UserWarning)
    for site in sites:
        fully_shard(site, mesh=world.mesh)
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
