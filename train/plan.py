"""What a run would be, before anything runs: clips, steps, sizes, memory, arithmetic. No clip is decoded."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from train.conditions.signals import nothing_told
from train.config import TrainConfig
from train.data import ShardSource
from train.engine import largest_latent
from train.models.codec import build_codec
from train.models.denoiser import VideoDenoiser
from train.models.text import nothing_said
from train.network import build_network
from train.parallel import ParallelConfig, World, lay_out
from train.parameters import trained_names
from train.parameters.start import new_names
from train.prepare import vocabulary_of

_FLOAT32_B = 4


def describe(config: TrainConfig, source: ShardSource | None = None) -> dict[str, Any]:
    """The run of a config over its shards, as JSON-like data.

    Args:
        config: the run.
        source: the shards; default: those that config.data names.

    Raises:
        ConfigError: the run could not start (no shards, no batch, sizes that do not fit).
    """
    source = source or ShardSource(config.data)
    vocabulary = vocabulary_of(config, source.captions(), torch.device("cpu"))
    return {
        "data": describe_data(config, source),
        "vocabulary_words": len(vocabulary.words),
        "model": describe_model(config, len(vocabulary)),
        "budget": config.budget.resolved(),
    }


def describe_data(config: TrainConfig, source: ShardSource) -> dict[str, Any]:
    """Clips by bucket and what of them an epoch takes."""
    plan, steps, split = source.plan, config.budget.steps, config.data.plan.split
    return {
        "uri": config.data.uri,
        "version": source.dataset.manifest.version if config.data.uri else None,
        "mix": [part.resolved() for part in config.data.mix],
        "split": split,
        "clips_in_split": len(source.dataset.table(None if split == "all" else split)),
        "clips_usable": plan.num_samples,
        "batches_by_bucket": plan.num_batches,
        "empty_buckets": [name for name, count in plan.num_batches.items() if not count],
        "steps_per_epoch": plan.steps_per_epoch,
        "epochs": None if steps is None else steps / plan.steps_per_epoch,
    }


def step_flop(config: TrainConfig, vocabulary_size: int) -> int:
    """Operations of the network in one step of all ranks; recomputation does not count, it is no progress."""
    return describe_model(without_recomputation(config), vocabulary_size)["flop_per_step"]


def without_recomputation(config: TrainConfig) -> TrainConfig:
    """The same run, keeping all activations."""
    return config.model_copy(update={"parallel": config.parallel.model_copy(update={"recompute": "none"})})


def describe_model(config: TrainConfig, vocabulary_size: int) -> dict[str, Any]:
    """Parameters by part, latent shape, floating-point operations and memory of one step on one rank."""
    clips = config.data.plan.global_batch
    shape = config.data.shapes()[0]
    latent = largest_latent(config, build_codec(config.codec))
    with torch.device("meta"):
        network = build_network(config, vocabulary_size, latent)
    new = frozenset() if config.start is None else new_names(config.start, network)
    sizes = {name: value.numel() for name, value in network.named_parameters()}
    trained = sum(sizes[name] for name in trained_names(config.parameters, sizes, new))
    recomputes = config.parallel.recompute != "none"
    layout = ParallelConfig(recompute=config.parallel.recompute)
    lay_out(layout, network, World(torch.device("meta")))
    forward_flop, saved_B = _forward_cost(network, config, vocabulary_size, latent)
    return {
        "latent_TCHW": list(latent),
        "tokens_per_clip": latent[0] * latent[2] * latent[3],
        "values_kept": round(math.prod(latent) / (3 * math.prod(shape)), 4),
        "parameters": sum(sizes.values()),
        "parameters_trained": trained,
        "parameters_by_part": _by_part(sizes),
        "flop_per_step": (4 if recomputes else 3) * clips * forward_flop,  # backward costs two forwards
        "memory_state_mb": _mb(
            _FLOAT32_B * (sum(sizes.values()) + 4 * trained)
        ),  # weights; gradient, Adam's two, average
        "memory_activations_mb": _mb(clips * saved_B),
    }


def _forward_cost(
    network: VideoDenoiser, config: TrainConfig, vocabulary_size: int, latent: tuple[int, ...]
) -> tuple[int, int]:
    """Operations, and bytes kept for the backward pass (in float32), of one clip on the meta device."""
    x_BTCHW, level_BT = torch.empty(1, *latent, device="meta"), torch.empty(1, latent[0], device="meta")
    words_BL = nothing_said(config.text, vocabulary_size, 1).to("meta")
    given = {name: value.to("meta") for name, value in nothing_told(config.conditions, latent, 1).items()}
    kept: dict[int, int] = {}
    parameters = {id(value) for value in network.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        if id(tensor) not in parameters:
            kept[id(tensor)] = tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), FlopCounterMode(display=False) as flop:
        output = network(x_BTCHW, level_BT, words_BL, given)
    del output  # until here, so that no id was used twice
    return flop.get_total_flops(), sum(kept.values())


def _by_part(sizes: dict[str, int]) -> dict[str, int]:
    parts: dict[str, int] = {}
    for name, size in sizes.items():
        part = ".".join(name.split(".")[:2]) if name.startswith("trunk.") else name.split(".")[0]
        parts[part] = parts.get(part, 0) + size
    return parts


def _mb(size_bytes: int) -> float:
    return round(size_bytes / 1e6, 1)
