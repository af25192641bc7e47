"""Weights to start from: an earlier stage, an image network to inflate, or somebody else's U-Net.

A mixer is the identity at the start and new input channels have weight zero. So a video network on T frames begins as
its image network on each frame (if the checkpoint has no mixers), and one with given frames as the one without.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from shards.config import Config
from shards.errors import ConfigError
from train import checkpoint
from train.models.adm_unet import AdmUNetConfig
from train.models.foreign_unets import diffusers_names, load_renamed, lvdm_names, split_query
from train.models.trunk import TrunkConfig
from train.parameters.lora import merged, name_without_lora
from train.parameters.policy import LORA_PART, LoraParametersConfig, fits
from train.tensor_files import read

log = logging.getLogger(__name__)
_GROWS = "trunk.enter.weight"  # its input channels: latent, layout, maps


class StartConfig(Config):
    """Where weights come from at step 0; they must stay there until the run has ended."""

    path: str = Field(description="Run folder, checkpoint folder, or a file of safetensors.")
    averaged: bool = Field(default=True, description="Of a run: the moving average; false takes the last weights.")
    layout: Literal["reelmill", "diffusers", "lvdm"] = Field(
        default="reelmill", description="Names in the checkpoint; the foreign ones need trunk adm_unet."
    )
    new: tuple[str, ...] = Field(
        default=(), description="Name patterns that the checkpoint may lack, e.g. `*.time.*` to inflate an image net."
    )
    unused: tuple[str, ...] = Field(
        default=(), description="Name patterns of the checkpoint that have no place here, e.g. `signals.*`."
    )


def start_folder(config: StartConfig | None) -> Path | None:
    """The checkpoint folder to start from; None if the start is a file or nothing.

    Raises:
        ConfigError: there is nothing at the path.
    """
    if config is None or Path(config.path).is_file():
        return None
    return checkpoint.find(Path(config.path))


@torch.no_grad()
def load_start(config: StartConfig, network: nn.Module, trunk: TrunkConfig) -> frozenset[str]:
    """Copy the weights in; returns the names of parameters that the checkpoint did not hold.

    Raises:
        ConfigError: a tensor is missing, left over or of another shape.
    """
    tensors = _tensors(config)
    own = {name_without_lora(name): value for name, value in network.named_parameters() if LORA_PART not in name}
    if config.layout != "reelmill":
        return _load_foreign(config, network, trunk, tensors, own)
    missing = [name for name in own if name not in tensors]
    left = [name for name in tensors if name not in own and not fits(name, config.unused)]
    refused = [name for name in missing if not fits(name, config.new)]
    if refused or left:
        raise ConfigError(
            f"start.path lacks {len(refused)} tensors{_first(refused)} and has {len(left)} without a place"
            f"{_first(left)}; all must fit; name them in start.new and start.unused, or change the network"
        )
    for name, parameter in own.items():
        if name in tensors:
            parameter.copy_(_grown(name, tensors[name], parameter))
    log.info("%d tensors start from %s, %d are new", len(own) - len(missing), config.path, len(missing))
    return frozenset(missing)


def _load_foreign(
    config: StartConfig, network: nn.Module, trunk: TrunkConfig, tensors: dict[str, Tensor], own: Mapping[str, Tensor]
) -> frozenset[str]:
    if not isinstance(trunk, AdmUNetConfig):
        raise ConfigError(f"start.layout is {config.layout} with trunk {trunk.kind}; adm_unet is allowed; change it")
    names = diffusers_names(trunk) if config.layout == "diffusers" else lvdm_names(trunk)
    tensors = split_query(tensors) if config.layout == "lvdm" else tensors
    tensors = {name: value for name, value in tensors.items() if not fits(name, config.unused)}
    held = {name for name, theirs in names.items() if all(other in tensors for other in theirs)}
    load_renamed(network, tensors, names, tuple(name for name in own if fits(name, config.new)))
    return frozenset(set(own) - held)


def new_names(config: StartConfig, network: nn.Module) -> frozenset[str]:
    """Names that `load_start` would call new, by names alone; for networks without memory."""
    held = _names(config)
    return frozenset(name for name, _ in network.named_parameters() if name_without_lora(name) not in held)


def _grown(name: str, value: Tensor, parameter: Tensor) -> Tensor:
    """The tensor in the parameter's shape: more input channels are zero."""
    if value.shape == parameter.shape:
        return value
    more = parameter.shape[1] - value.shape[1] if value.ndim == parameter.ndim > 1 else -1
    if name != _GROWS or more < 0 or value.shape[2:] != parameter.shape[2:] or len(value) != len(parameter):
        raise ConfigError(
            f"start.path has {name} of shape {tuple(value.shape)}; {tuple(parameter.shape)} is allowed; only "
            f"{_GROWS} may gain input channels; change the network"
        )
    grown = torch.zeros_like(parameter)
    grown[:, : value.shape[1]] = value
    return grown


def _tensors(config: StartConfig) -> dict[str, Tensor]:
    folder = start_folder(config)
    if folder is None:
        return load_file(config.path)
    weights = read(folder, "model")
    if config.averaged:
        weights |= read(folder, "ema")
    policy = checkpoint.read_document(folder, "config")["parameters"]
    return merged(weights, LoraParametersConfig.model_validate(policy)) if policy["kind"] == "lora" else weights


def _names(config: StartConfig) -> set[str]:
    folder = start_folder(config)
    if folder is not None:
        return {name_without_lora(name) for name in read(folder, "model")}
    with safe_open(config.path, "pt") as file:
        return set(file.keys())


def _first(names: list[str]) -> str:
    return f" ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})" if names else ""
