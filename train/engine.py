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
from train.models.codec import (
    AnyCodec,
    Codec,
    CodecConfig,
    build_codec,
    check_codec,
    codec_record,
    codec_tensors,
    latent_shape,
)
from train.models.denoiser import VideoDenoiser, check_latent
from train.models.text import AnyText, text_of
from train.network import build_network
from train.optim import build_optimizers, empty_state, optimizer_tensors
from train.parallel import World, lay_out
from train.parameters import choose
from train.parameters.start import load_start
from train.tensor_files import names, read, read_into


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
        self.network = lay_out(config.parallel, network, world)
        self.parameters = {name: value for name, value in self.network.named_parameters() if value.requires_grad}
        self.optimizers = build_optimizers(config.optim, self.parameters, VideoDenoiser.EDGES, lr_scales)
        self.ema = Ema(config.ema, self.parameters)

    def tensors(self) -> dict[str, Mapping[str, Tensor]]:
        """All that a checkpoint must hold, by group, sharded as it is."""
        return {
            "model": dict(self.network.named_parameters()),
            "ema": self.ema.averages,
            "optim": optimizer_tensors(self.optimizers, self.parameters),
            **frozen_tensors(self.frozen),
        }

    def documents(self) -> dict[str, Any]:
        """What a checkpoint says beside its tensors."""
        return {
            "config": self.config.resolved(),
            "vocabulary": self.frozen.vocabulary.document(),
            "codec": codec_record(self.frozen.codec),
        }

    def load(self, folder: Path) -> None:
        """Restore weights, average and optimiser, whatever world wrote them; every rank must call it."""
        read_into(folder, "model", dict(self.network.named_parameters()), self.world)
        read_into(folder, "ema", self.ema.averages, self.world)
        state = empty_state(self.optimizers, self.parameters, names(folder, "optim"))
        read_into(folder, "optim", state, self.world)


def build_denoiser(config: TrainConfig, frozen: Frozen) -> VideoDenoiser:
    """The network with weights drawn from the seed; the caller's random state is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return build_network(config, len(frozen.vocabulary), frozen.latent_TCHW)


def largest_latent(config: TrainConfig, codec: Codec) -> tuple[int, int, int, int]:
    """Shape (T, C, H, W) of the largest clip's latent.

    Raises:
        ConfigError: codec or trunk cannot take one of the shapes that batches have.
    """
    latents = [config.latents.kept(latent_shape(codec, *shape)) for shape in config.data.shapes()]
    for latent_TCHW in latents:
        check_latent(config.trunk, latent_TCHW)
    return latents[0]


def frozen_tensors(frozen: Frozen) -> dict[str, dict[str, Tensor]]:
    """Files of the frozen parts; a codec without weights has none."""
    weights = codec_tensors(frozen.codec)
    return {"latents": frozen.scale.tensors(), **({"codec": weights} if weights else {})}


def load_frozen(config: TrainConfig, folder: Path, device: torch.device) -> Frozen:
    """The frozen parts of a checkpoint."""
    codec = load_codec(config.codec, folder)
    scale = read(folder, "latents")
    vocabulary = text_of(config.text, checkpoint.read_document(folder, "vocabulary"), device)
    return freeze(config, codec.to(device), LatentScale(scale["mean_C"], scale["std_C"]).to(device), vocabulary)


def load_codec(config: CodecConfig, folder: Path) -> AnyCodec:
    """The codec of a checkpoint.

    Raises:
        ConfigError: the checkpoint's codec is another one.
    """
    codec = build_codec(config)
    check_codec(codec, checkpoint.read_document(folder, "codec"))
    if codec_tensors(codec):
        codec.load_state_dict(read(folder, "codec"))
    return codec


def freeze(config: TrainConfig, codec: AnyCodec, scale: LatentScale, vocabulary: AnyText) -> Frozen:
    """Bring the frozen parts together."""
    return Frozen(_without_gradients(codec), scale, vocabulary, largest_latent(config, codec))


def _without_gradients(codec: AnyCodec) -> AnyCodec:
    nn.Module.requires_grad_(codec, False)
    return codec.eval()
