"""`reelmill train embed`: which dataset and which codec, with progress."""

import tempfile
from contextlib import closing
from functools import partial
from pathlib import Path

import torch

from reelmill.progress import console_progress
from shards.errors import ConfigError
from shards.reading.reader import open_dataset
from shards.versions.manifest import Manifest
from train import checkpoint
from train.codec_run import trained_codec
from train.config import TrainConfig
from train.embed import embed
from train.engine import AnyCodec, load_codec
from train.models.autoencoder import AutoencoderConfig
from train.models.autoencoder3d import VideoAutoencoderConfig
from train.models.codec import build_codec
from train.run_torchrun import pick_device


def embed_dataset(config: TrainConfig, model: Path | None, output: str) -> Manifest:
    """Make the latents of the dataset that a config names.

    Args:
        config: dataset, view and codec.
        model: run folder or checkpoint whose codec is taken; None: the config's, which then needs no training.
        output: where the derived dataset goes.

    Raises:
        ConfigError: no dataset is named, or the codec has to be trained first.
    """
    if config.data.uri is None:
        raise ConfigError("data.uri is null; a published dataset is needed; set data.uri or --set data.uri=DIR")
    device = torch.device(pick_device(config.device))
    codec = _codec(config, model).to(device)
    dataset = open_dataset(config.data.uri, config.data.version)
    with closing(console_progress()) as progress, tempfile.TemporaryDirectory(prefix="reelmill-") as scratch:
        progress.start("embed", len(dataset))
        done = partial(progress.advance, "embed")
        return embed(config.data, dataset, config.codec, codec, device, output, Path(scratch), done)


def _codec(config: TrainConfig, model: Path | None) -> AnyCodec:
    if model is not None:
        folder = checkpoint.find(model)
        saved = checkpoint.read_document(folder, "config")["codec"]
        if saved != config.codec.resolved():
            raise ConfigError(f"codec is {config.codec.resolved()}; {folder} was trained with {saved}; give the same")
        return load_codec(config.codec, folder)
    if isinstance(config.codec, VideoAutoencoderConfig) and config.codec.weights is not None:
        return trained_codec(config.codec)
    if isinstance(config.codec, AutoencoderConfig | VideoAutoencoderConfig):
        raise ConfigError(
            f"codec.kind is {config.codec.kind}, whose weights are learned; trained ones are needed; train fit it, "
            "then give --model RUN"
        )
    return build_codec(config.codec)
