"""What is fixed before the first step: vocabulary, codec, scale of latents."""

import logging
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path

import torch

from shards.errors import ConfigError
from train import checkpoint
from train.codec_run import train_video_codec, trained_codec
from train.codec_stage import train_codec
from train.config import TrainConfig
from train.data import Clips, ClipSource
from train.engine import Frozen, freeze, load_frozen
from train.latents import measure
from train.models.autoencoder import AutoencoderConfig
from train.models.autoencoder3d import VideoAutoencoderConfig
from train.models.codec import build_codec
from train.models.text import AnyText, Vocabulary, build_text
from train.parallel import World
from train.parameters.start import start_folder

log = logging.getLogger(__name__)


def vocabulary_of(config: TrainConfig, captions: Iterable[str], device: torch.device) -> AnyText:
    """Words of the captions, or a frozen encoder; none without a text condition."""
    return Vocabulary([]) if config.conditions.text is None else build_text(config.text, captions, device)


def prepare(config: TrainConfig, source: ClipSource, world: World, output: Path) -> tuple[Frozen, Iterator[Clips]]:
    """The frozen parts, and the batches from the very first on (those that were measured are handed out again)."""
    folder = start_folder(config.start)
    if folder is not None:  # weights mean what they meant only with the parts that they were trained with
        return _taken_over(config, folder, world), source.batches(world.rank, world.size, None)
    vocabulary = vocabulary_of(config, source.captions(), world.device)
    log.info("vocabulary of %d words", len(vocabulary.words))
    codec = build_codec(config.codec).to(world.device)
    if isinstance(config.codec, AutoencoderConfig):
        first_pass = source.batches(world.rank, world.size, None)
        codec = train_codec(config.codec, first_pass, config.seed, config.precision, world)
    if isinstance(config.codec, VideoAutoencoderConfig):
        if config.codec.weights is not None:
            codec = trained_codec(config.codec).to(world.device)
        else:
            codec, _ = train_video_codec(config, source, world, output / "codec")
    batches = source.batches(world.rank, world.size, None)
    measured = list(islice(batches, config.latents.num_batches))
    scale = measure(config.latents, (clips.encoded(codec, world.device) for clips in measured), world)
    return freeze(config, codec, scale, vocabulary), chain(measured, batches)


def _taken_over(config: TrainConfig, folder: Path, world: World) -> Frozen:
    """Codec, scale and vocabulary of the run that this one starts from."""
    codec = checkpoint.read_document(folder, "config")["codec"]
    if codec != config.codec.resolved():
        raise ConfigError(
            f"codec differs from that of start.path, {codec}; the same is allowed, since latents keep their meaning; "
            "copy it, or start from nothing"
        )
    return load_frozen(config, folder, world.device)
