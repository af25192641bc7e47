"""All that a checkpoint must give back: codec, scale, vocabulary, network, average, optimisers."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from train import checkpoint
from train.config import TrainConfig
from train.ema import Ema
from train.latents import LatentScale
from train.models.codec import AnyCodec, build_codec, check_codec, codec_record, codec_tensors, latent_shape
from train.models.denoiser import VideoDenoiser
from train.models.text import AnyText, text_of
from train.network import build_network
from train.optim import build_optimizers, load_optimizers, optimizer_tensors
from train.parallel import World, full, like, shard
from train.parameters import choose
from train.parameters.start import load_start


@dataclass(frozen=True)
class Frozen:
    """What is fixed before the first step of the denoiser."""

    codec: AnyCodec
    scale: LatentScale
    vocabulary: AnyText
    latent_TCHW: tuple[int, int, int, int]


class Engine:
    """The network and everything that changes with it."""

    def __init__(self, config: TrainConfig, frozen: Frozen, world: World) -> None:
        self.config, self.frozen, self.world = config, frozen, world
        network = build_denoiser(config, frozen).to(world.device)
        new = frozenset() if config.start is None else load_start(config.start, network, config.trunk)
        lr_scales = choose(config.parameters, network, new)
        self.network = shard(network, world)
        self.parameters = {name: value for name, value in self.network.named_parameters() if value.requires_grad}
        self.optimizers = build_optimizers(config.optim, self.parameters, VideoDenoiser.EDGES, lr_scales)
        self.ema = Ema(config.ema, self.parameters)

    def save(self, root: Path, step: int, record: Mapping[str, Any]) -> Path | None:
        """Write a checkpoint; every rank must call it, the first writes. None on the others."""
        weights = {name: full(value) for name, value in self.network.named_parameters()}
        groups = {
            "model": weights,
            "ema": {name: full(value) for name, value in self.ema.averages.items()},
            "optim": optimizer_tensors(self.optimizers, self.parameters),
            **frozen_tensors(self.frozen),
        }
        if not self.world.is_first:
            return None
        documents = {
            "config": self.config.resolved(),
            "vocabulary": self.frozen.vocabulary.document(),
            "codec": codec_record(self.frozen.codec),
        }
        return checkpoint.save(root, step, groups, documents, record, self.config.checkpoint.keep)

    @torch.no_grad()
    def load(self, folder: Path) -> None:
        """Restore weights, average and optimiser, whatever world wrote them."""
        for target, name in ((dict(self.network.named_parameters()), "model"), (self.ema.averages, "ema")):
            for key, value in checkpoint.read_tensors(folder, name).items():
                target[key].copy_(like(value, target[key]))
        load_optimizers(self.optimizers, self.parameters, checkpoint.read_tensors(folder, "optim"))


def build_denoiser(config: TrainConfig, frozen: Frozen) -> VideoDenoiser:
    """The network with weights drawn from the seed; the caller's random state is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return build_network(config, len(frozen.vocabulary), frozen.latent_TCHW)


def frozen_tensors(frozen: Frozen) -> dict[str, dict[str, Tensor]]:
    """Files of the frozen parts; a codec without weights has none."""
    weights = codec_tensors(frozen.codec)
    return {"latents": frozen.scale.tensors(), **({"codec": weights} if weights else {})}


def load_frozen(config: TrainConfig, folder: Path, device: torch.device) -> Frozen:
    """The frozen parts of a checkpoint."""
    codec = build_codec(config.codec)
    check_codec(codec, checkpoint.read_document(folder, "codec"))
    if codec_tensors(codec):
        codec.load_state_dict(checkpoint.read_tensors(folder, "codec"))
    scale = checkpoint.read_tensors(folder, "latents")
    vocabulary = text_of(config.text, checkpoint.read_document(folder, "vocabulary"), device)
    return freeze(config, codec.to(device), LatentScale(scale["mean_C"], scale["std_C"]).to(device), vocabulary)


def freeze(config: TrainConfig, codec: AnyCodec, scale: LatentScale, vocabulary: AnyText) -> Frozen:
    """Bring the frozen parts together."""
    view = config.data.view
    shape = latent_shape(codec, view.num_frames, view.height, view.width)
    return Frozen(_without_gradients(codec), scale, vocabulary, shape)


def _without_gradients(codec: AnyCodec) -> AnyCodec:
    nn.Module.requires_grad_(codec, False)
    return codec.eval()
