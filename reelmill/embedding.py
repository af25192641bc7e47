"""`reelmill train embed`: which dataset and which codec, with progress."""

import tempfile
from contextlib import closing
from pathlib import Path

from reelmill.progress import console_progress
from shards.errors import ConfigError
from shards.reading.reader import open_dataset
from shards.versions.manifest import Manifest
from train import checkpoint
from train.config import TrainConfig
from train.embed import embed
from train.engine import AnyCodec, load_codec
from train.models.autoencoder import AutoencoderConfig
from train.models.codec import build_codec


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
    dataset = open_dataset(config.data.uri, config.data.version)
    codec = _codec(config, model)
    with closing(console_progress()) as progress, tempfile.TemporaryDirectory(prefix="reelmill-") as scratch:
        progress.start("embed", len(dataset))
        return embed(
            config.data,
            dataset,
            config.codec,
            codec,
            output,
            Path(scratch),
            lambda clips: progress.advance("embed", clips),
        )


def _codec(config: TrainConfig, model: Path | None) -> AnyCodec:
    if model is not None:
        return load_codec(config.codec, checkpoint.find(model))
    if isinstance(config.codec, AutoencoderConfig):
        raise ConfigError(
            "codec.kind is autoencoder, which has weights; a trained one is needed; train fit it, then give --model RUN"
        )
    return build_codec(config.codec)
