"""Latents that were made ahead, and whether they are those that a run would make of the same view."""

import hashlib
from typing import Any

import torch
from torch import nn

from shards.config import Config
from shards.errors import ConfigError, ContractError
from shards.ids import digest
from shards.plans.view import ViewConfig
from shards.reading.mixture import MixedDataset
from shards.reading.reader import ShardDataset

EMBEDDED = "embedded"  # key in the configuration of a derived version
# Where weights come from and how they were learned: the weights themselves tell what a codec does.
_ORIGIN = frozenset({
    "training", "weights", "path", "subfolder", "revision", "encoder", "decoder", "frames_at_once",
    "steps", "learning_rate", "latent_noise", "colour_weight",
})  # fmt: skip


def codec_sha256(config: Config, codec: nn.Module) -> str:
    """Identity of a codec: what its configuration says of what it computes, and its weights, wherever they lie."""
    weights = {
        name: hashlib.sha256(value.detach().cpu().flatten().view(torch.uint8).numpy()).hexdigest()
        for name, value in codec.state_dict().items()
    }
    return digest([{name: value for name, value in config.resolved().items() if name not in _ORIGIN}, weights])


def check_embedded(dataset: ShardDataset, view: ViewConfig, codec: str | None = None) -> None:
    """Refuse latents of another view, or of another codec if one is given.

    Args:
        dataset: what is to be read.
        view: what the run wants to see.
        codec: `codec_sha256` of the run's.

    Raises:
        ConfigError: the dataset holds no latents.
        ContractError: its latents are others.
    """
    for part in dataset.parts if isinstance(dataset, MixedDataset) else (dataset,):
        made: dict[str, Any] | None = part.manifest.config.get(EMBEDDED)
        if made is None:
            raise ConfigError(
                f"data.read is latents; {part.store.uri} holds none; make them by train embed, or set read: video"
            )
        now = {"view": view.resolved(), "codec_sha256": codec or made["codec_sha256"]}
        for name, value in now.items():
            if made[name] != value:
                raise ContractError(
                    f"latents of {part.store.uri} were made with {name} {made[name]}; this run has {value}; give both "
                    f"the same, or run train embed again"
                )
