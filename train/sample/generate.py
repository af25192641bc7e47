"""From a checkpoint and prompts to videos."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from shards.config import parse_config
from shards.errors import ConfigError
from train import checkpoint
from train.config import TrainConfig
from train.engine import Frozen, build_denoiser, load_frozen
from train.models.codec import video_of
from train.models.denoiser import VideoDenoiser
from train.objectives.noise import correlate
from train.objectives.objective import predicted_z
from train.precision import autocast
from train.randomness import keyed
from train.run_torchrun import pick_device
from train.sample.ddim import SamplerConfig, ddim
from train.sample.guidance import classifier_free

_STREAM = 1  # apart from training's draws


@dataclass(frozen=True)
class TextToVideo:
    """A trained model, ready to sample."""

    config: TrainConfig
    network: VideoDenoiser
    frozen: Frozen
    device: torch.device

    @torch.no_grad()
    def generate(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int] | None = None,
        sampler: SamplerConfig | None = None,
        batch_size: int = 16,
    ) -> np.ndarray:
        """One video per prompt: uint8 RGB of shape (B, T, H, W, C).

        Args:
            prompts: texts; every word must be known to the model.
            seeds: of each prompt's noise, default 0, 1, 2, …; the same prompt and seed give the same video.
            sampler: steps, guidance, eta; default: those of the training config.
            batch_size: videos computed at once; changes memory, not results beyond rounding.

        Raises:
            ConfigError: a prompt has a word that training never saw, or seeds do not fit.
        """
        seeds = range(len(prompts)) if seeds is None else seeds
        if len(seeds) != len(prompts):
            raise ConfigError(
                f"seeds are {len(seeds)}; one for each of {len(prompts)} prompts is allowed; give as many"
            )
        self._check_words(prompts)
        sampler = sampler or self.config.sampler
        starts = range(0, len(prompts), batch_size)
        videos = [self._batch(prompts[k : k + batch_size], seeds[k : k + batch_size], sampler) for k in starts]
        return torch.cat(videos).cpu().numpy()

    def _batch(self, prompts: Sequence[str], seeds: Sequence[int], sampler: SamplerConfig) -> Tensor:
        words_BL = self.frozen.vocabulary.encode(prompts, self.config.text.max_words).to(self.device)
        generators = [keyed(seed, 0, 0, _STREAM) for seed in seeds]
        fresh = partial(self._noise, generators)
        predict = classifier_free(self._predict_z, words_BL, sampler.guidance)
        z_BTCHW = ddim(sampler, self.config.objective.schedule, predict, fresh(), fresh)
        return video_of(self.frozen.codec.decode(self.frozen.scale.restore(z_BTCHW)))

    def _noise(self, generators: Sequence[np.random.Generator]) -> Tensor:
        draws = [generator.standard_normal(self.frozen.latent_TCHW, dtype=np.float32) for generator in generators]
        white_BTCHW = torch.from_numpy(np.stack(draws)).to(self.device)
        return correlate(self.config.noise_prior, white_BTCHW)

    def _predict_z(self, x_BTCHW: Tensor, t_BT: Tensor, words_BL: Tensor) -> Tensor:
        with autocast(self.config.precision, self.device):
            output_BTCHW = self.network(x_BTCHW, t_BT, words_BL)
        return predicted_z(self.config.objective, output_BTCHW, x_BTCHW, t_BT)

    def _check_words(self, prompts: Sequence[str]) -> None:
        for prompt in prompts:
            unknown = self.frozen.vocabulary.unknown(prompt)
            if unknown:
                known = ", ".join(self.frozen.vocabulary.words[:40])
                raise ConfigError(f"prompt {prompt!r} has unknown words {unknown}; known are {known}; use those")


def load(path: Path, device: str | None = None, averaged: bool = True) -> TextToVideo:
    """The model of a run folder (its newest checkpoint) or of one checkpoint.

    Args:
        path: run folder or checkpoint folder.
        device: auto, cpu or cuda; default: that of the training config.
        averaged: the moving average of the weights; False takes the last ones.

    Raises:
        ConfigError: there is no committed checkpoint.
        ContractError: a file of it is damaged.
    """
    folder = checkpoint.find(path)
    config = parse_config(TrainConfig, checkpoint.read_document(folder, "config"), str(folder))
    place = torch.device(pick_device(device or config.device))
    frozen = load_frozen(config, folder, place)
    network = build_denoiser(config, frozen)
    weights = checkpoint.read_tensors(folder, "model")
    if averaged:
        weights |= checkpoint.read_tensors(folder, "ema")
    network.load_state_dict(weights)
    return TextToVideo(config, network.to(place).eval(), frozen, place)


def generate(path: Path, prompts: Sequence[str], seeds: Sequence[int] | None = None) -> np.ndarray:
    """Load and sample in one call; see `load` and `TextToVideo.generate`."""
    return load(path).generate(prompts, seeds)
