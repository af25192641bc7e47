"""Tensors of a checkpoint in safetensors files: each rank writes the parts that it holds, any world reads them back.

torch.distributed.checkpoint does the work, with its safetensors storage: no pickle. A tensor's full name is
`<group>.<name>`; the tensors of a group lie in files of their own, and may be read without the others.
"""

import warnings
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import async_save

from train.parallel import World

Groups = Mapping[str, Mapping[str, Tensor]]


def write(folder: Path, groups: Groups, world: World) -> Future[Any]:
    """Copy the tensors, then write them while training goes on; every rank must call it.

    Args:
        folder: exists, without tensors.
        groups: per group, tensors by name: whole ones that are the same on all ranks, or sharded ones.
        world: this process among its peers.

    Returns:
        Done when the files of all ranks are written.
    """
    _silence()
    numbers = {group: number for number, group in enumerate(sorted(groups), start=1)}
    files = {f"{group}.{name}": numbers[group] for group in groups for name in groups[group]}
    writer = HuggingFaceStorageWriter(str(folder), files, save_distributed=True)
    done = async_save(
        {f"{group}.{name}": value.detach() for group in groups for name, value in groups[group].items()},
        storage_writer=writer,
        process_group=world.beside,
        no_dist=world.size == 1,
    )
    if not isinstance(done, Future):
        raise TypeError(f"async_save gave {type(done).__name__}; a Future is expected; use torch 2.9 or later")
    return done


def read(folder: Path, group: str) -> dict[str, Tensor]:
    """Whole tensors of a group by name, on the CPU; empty if there is no such group."""
    shapes = _shapes(folder, group)
    tensors = {name: torch.empty(size, dtype=dtype) for name, (size, dtype) in shapes.items()}
    _load(folder, group, tensors, together=False)
    return tensors


def names(folder: Path, group: str) -> list[str]:
    """Names of the tensors of a group."""
    return list(_shapes(folder, group))


def read_into(folder: Path, group: str, targets: Mapping[str, Tensor], world: World) -> None:
    """Fill tensors, sharded or whole, in place: a rank reads the parts it holds; every rank must call it."""
    _load(folder, group, targets, together=world.size > 1)


def _load(folder: Path, group: str, targets: Mapping[str, Tensor], *, together: bool) -> None:
    if targets:
        _silence()
        state = {f"{group}.{name}": value.detach() for name, value in targets.items()}
        load(state, storage_reader=HuggingFaceStorageReader(str(folder)), no_dist=not together)


def _shapes(folder: Path, group: str) -> dict[str, tuple[torch.Size, torch.dtype]]:
    found = HuggingFaceStorageReader(str(folder)).read_metadata().state_dict_metadata
    return {
        name.removeprefix(f"{group}."): (tensor.size, tensor.properties.dtype)
        for name, tensor in found.items()
        if name.startswith(f"{group}.") and isinstance(tensor, TensorStorageMetadata)
    }


def _silence() -> None:
    """One process alone is what we want then; a filter for all threads, since the writing one warns too."""
    warnings.filterwarnings("ignore", message="torch.distributed is disabled", category=UserWarning)
