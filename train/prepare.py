"""What is fixed before the first step: vocabulary, codec, scale of latents."""

import logging
from collections.abc import Iterable, Iterator
from itertools import chain, islice

from train.codec_stage import train_codec
from train.config import TrainConfig
from train.data import Clips, ClipSource
from train.engine import Frozen, freeze
from train.latents import measure
from train.models.autoencoder import AutoencoderConfig
from train.models.codec import build_codec
from train.models.text import Vocabulary
from train.parallel import World

log = logging.getLogger(__name__)


def vocabulary_of(config: TrainConfig, captions: Iterable[str]) -> Vocabulary:
    """Words of the captions; none without a text condition."""
    return Vocabulary([]) if config.conditions.text is None else Vocabulary.of(captions, config.text)


def prepare(config: TrainConfig, source: ClipSource, world: World) -> tuple[Frozen, Iterator[Clips]]:
    """The frozen parts, and the batches from the very first on (those that were measured are handed out again)."""
    vocabulary = vocabulary_of(config, source.captions())
    log.info("vocabulary of %d words", len(vocabulary.words))
    codec = build_codec(config.codec).to(world.device)
    if isinstance(config.codec, AutoencoderConfig):
        first_pass = source.batches(world.rank, world.size, None)
        codec = train_codec(config.codec, first_pass, config.seed, config.precision, world)
    batches = source.batches(world.rank, world.size, None)
    measured = list(islice(batches, config.latents.num_batches))
    scale = measure(config.latents, codec, (clips.video_BTHWC for clips in measured), world)
    return freeze(config, codec, scale, vocabulary), chain(measured, batches)
