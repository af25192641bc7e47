"""The rim: a process group from the variables that torchrun sets, opened and closed around training."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh

from train.parallel import ParallelConfig, World, mesh_shape

_TIMEOUT = timedelta(minutes=10)


@contextmanager
def open_world(device: str = "auto", parallel: ParallelConfig | None = None) -> Iterator[World]:
    """The world of this process: one rank alone, or all that `torchrun --no-python reelmill train fit …` started.

    Args:
        device: auto (CUDA if there is one), cpu or cuda.
        parallel: how ranks are grouped; default: one group of all.

    Raises:
        ConfigError: the ranks cannot be grouped so.
    """
    kind = pick_device(device)
    size = int(os.environ.get("WORLD_SIZE", "1"))
    axes = mesh_shape(parallel or ParallelConfig(), size)
    if size == 1:
        yield World(torch.device(kind))
        return
    local = torch.device(kind, int(os.environ["LOCAL_RANK"])) if kind == "cuda" else torch.device(kind)
    if kind == "cuda":
        torch.cuda.set_device(local)
    dist.init_process_group("cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo", timeout=_TIMEOUT)
    try:
        mesh = init_device_mesh(kind, tuple(axes.values()), mesh_dim_names=tuple(axes))
        beside = dist.new_group(backend="gloo", timeout=_TIMEOUT)
        yield World(local, dist.get_rank(), size, mesh, beside)  # pyright: ignore[reportArgumentType]  all ranks are in
        dist.barrier()  # leaving while a peer still talks aborts it
    finally:
        dist.destroy_process_group()


def pick_device(device: str) -> str:
    """`auto` is CUDA if there is one, else the CPU."""
    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"
