"""First stage of a learned codec: train it to reconstruct, then freeze it. Killed, it starts over and ends the same."""

import logging
from collections.abc import Iterator
from itertools import islice

import torch

from train.data import Clips
from train.models.autoencoder import Autoencoder, AutoencoderConfig, reconstruction_loss
from train.models.codec import pixels_of
from train.parallel import World, sum_over_ranks
from train.precision import Precision, autocast
from train.randomness import keyed

log = logging.getLogger(__name__)
_STREAM = 2  # apart from the denoiser's draws


def train_codec(
    config: AutoencoderConfig, batches: Iterator[Clips], seed: int, precision: Precision, world: World
) -> Autoencoder:
    """Train an autoencoder on frames; every rank ends with the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        codec = Autoencoder(config).to(world.device)
    optimizer = torch.optim.AdamW(codec.parameters(), lr=config.learning_rate)
    for step, clips in enumerate(islice(batches, config.steps)):
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * (1 - step / config.steps)
        loss = _step(config, codec, optimizer, clips, seed, precision, world)
        if (step + 1) % 100 == 0:
            log.info("codec step %d of %d: loss %.4f", step + 1, config.steps, float(loss))
    return codec


def _step(
    config: AutoencoderConfig,
    codec: Autoencoder,
    optimizer: torch.optim.Optimizer,
    clips: Clips,
    seed: int,
    precision: Precision,
    world: World,
) -> torch.Tensor:
    pixels_BTCHW = pixels_of(clips.video.to(world.device))
    frames, height, width = (pixels_BTCHW.shape[axis] for axis in (1, 3, 4))
    shape = (frames, config.latent_channels, height // config.block_px, width // config.block_px)
    draws = [keyed(seed, clips.epoch, sample, _STREAM).standard_normal(shape, dtype="float32") for sample in clips.ids]
    noise = torch.stack([torch.from_numpy(draw) for draw in draws]).to(world.device)
    with autocast(precision, world.device):
        loss = reconstruction_loss(config, codec, pixels_BTCHW, noise)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    for parameter in codec.parameters():
        if parameter.grad is not None:
            parameter.grad = sum_over_ranks(parameter.grad, world) / world.size
    optimizer.step()
    return loss.detach()
