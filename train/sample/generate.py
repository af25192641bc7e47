"""From a checkpoint and prompts to videos."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from shards.config import apply_overrides, parse_config
from shards.errors import ConfigError
from train import checkpoint
from train.conditions.columns import told_class, told_scores
from train.conditions.frames import Given
from train.config import TrainConfig
from train.engine import Frozen, build_denoiser, load_frozen
from train.models.codec import pixels_of, video_of
from train.models.denoiser import VideoDenoiser
from train.models.text import nothing_said
from train.objectives.noise import correlate
from train.parameters.lora import merge_lora
from train.precision import autocast
from train.randomness import keyed
from train.run_torchrun import pick_device
from train.sample.config import SamplerConfig
from train.sample.scores import ScoreSum, Told, terms_of
from train.sample.steps import run
from train.tensor_files import read

_STREAM = 1  # apart from training's draws


@dataclass(frozen=True)
class Wishes:
    """What each sample of a batch is told, and its seed; a row each.

    Attributes:
        prompts: texts; not read by a network without text.
        seeds: the same wishes and seed give the same sample.
        classes: class numbers, None where not told.
        scores: per column, in its unit, NaN where not told.
    """

    prompts: Sequence[str]
    seeds: Sequence[int]
    classes: Sequence[int | None] | None = None
    scores: Mapping[str, Sequence[float]] | None = None

    def rows(self, numbers: Sequence[int]) -> "Wishes":
        """Some rows, in the order given."""

        def pick(values: Sequence) -> list:
            return [values[number] for number in numbers]

        return Wishes(
            pick(self.prompts),
            pick(self.seeds),
            None if self.classes is None else pick(self.classes),
            None if self.scores is None else {name: pick(values) for name, values in self.scores.items()},
        )


@dataclass(frozen=True)
class GivenLatents:
    """Frames that samples must hold: clean model latents, read where the mask is 1."""

    z_BTCHW: Tensor
    mask_BT1HW: Tensor


@dataclass(frozen=True)
class TextToVideo:
    """A trained model, ready to sample."""

    config: TrainConfig
    network: VideoDenoiser
    frozen: Frozen
    device: torch.device

    @property
    def clip_frames(self) -> int:
        """Frames that one call makes."""
        alone = int(self.frozen.codec.first_frame_alone)
        return alone + (self.frozen.latent_TCHW[0] - alone) * self.frozen.codec.frames_per_latent

    @torch.no_grad()
    def generate(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int] | None = None,
        sampler: SamplerConfig | None = None,
        batch_size: int = 16,
        *,
        classes: Sequence[int | None] | None = None,
        scores: Mapping[str, Sequence[float]] | None = None,
        given: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> np.ndarray:
        """One video per prompt: uint8 RGB of shape (B, T, H, W, C).

        Args:
            prompts: texts; every word must be known to the model.
            seeds: of each prompt's noise, default 0, 1, 2, …; the same prompt and seed give the same video.
            sampler: steps, guidance, kind; default: those of the training config.
            batch_size: videos computed at once; changes memory, not results beyond rounding.
            classes: class of each video, None where not told.
            scores: per column of conditions.scores a value for each video, in the column's unit; NaN is not told.
            given: what the videos must hold: uint8 video_BTHWC, and a mask, 1 where given, over latent frames (B, T)
                or places (B, T, H, W).

        Raises:
            ConfigError: a prompt has a word that training never saw, or the model knows no such condition.
        """
        wishes = self.wishes(prompts, seeds, classes, scores)
        latents = None if given is None else self._given_latents(*given)
        made = self.latents(wishes, sampler or self.config.sampler, latents, batch_size)
        return torch.cat([self.decode(part) for part in made.split(batch_size)]).cpu().numpy()

    def wishes(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int] | None = None,
        classes: Sequence[int | None] | None = None,
        scores: Mapping[str, Sequence[float]] | None = None,
    ) -> Wishes:
        """Checked wishes.

        Raises:
            ConfigError: they do not fit each other or the model.
        """
        conditions = self.config.conditions
        seeds = range(len(prompts)) if seeds is None else seeds
        columns = [score.column for score in conditions.scores]
        unknown = [name for name in scores or {} if name not in columns]
        if unknown or (classes is not None and conditions.classes is None):
            raise ConfigError(
                f"told are {', '.join(unknown) or 'classes'}; this model knows the scores "
                f"{', '.join(columns) or 'none'} and {'classes' if conditions.classes else 'no classes'}; leave it out"
            )
        lengths = {"seeds": seeds, **({"classes": classes} if classes is not None else {}), **(scores or {})}
        for name, values in lengths.items():
            if len(values) != len(prompts):
                raise ConfigError(
                    f"{name} are {len(values)}; one for each of {len(prompts)} prompts is allowed; give as many"
                )
        if conditions.text is not None:
            self._check_words(prompts)
        return Wishes(prompts, seeds, classes, scores)

    @torch.no_grad()
    def latents(
        self,
        wishes: Wishes,
        sampler: SamplerConfig,
        given: GivenLatents | None = None,
        batch_size: int = 16,
        call: Sequence[int] | None = None,
    ) -> Tensor:
        """Model latents of wishes, of shape (B, T, C, H, W), on the device.

        Args:
            wishes: a row per sample.
            sampler: steps and guidance.
            given: what they must hold; None is nothing.
            batch_size: rows computed at once.
            call: number of each row's call among those of its long video, so that each has noise of its own.
        """
        count = len(wishes.prompts)
        call = [0] * count if call is None else call
        parts = []
        for first in range(0, count, batch_size):
            rows = range(first, min(first + batch_size, count))
            held = None if given is None else GivenLatents(given.z_BTCHW[list(rows)], given.mask_BT1HW[list(rows)])
            generators = [keyed(wishes.seeds[row], call[row], 0, _STREAM) for row in rows]
            parts.append(self._batch(wishes.rows(rows), sampler, held, generators))
        return torch.cat(parts)

    def decode(self, z_BTCHW: Tensor) -> Tensor:
        """Uint8 video_BTHWC of model latents."""
        return video_of(self.frozen.codec.decode(self.frozen.scale.restore(z_BTCHW)))

    def encode(self, video_BTHWC: Tensor) -> Tensor:
        """Model latents of a uint8 video."""
        return self.frozen.scale.normalize(self.frozen.codec.encode(pixels_of(video_BTHWC.to(self.device))))

    def _batch(
        self,
        wishes: Wishes,
        sampler: SamplerConfig,
        given: GivenLatents | None,
        generators: Sequence[np.random.Generator],
    ) -> Tensor:
        fresh = partial(self._noise, generators)
        noise_BTCHW = fresh()
        told = self._told(wishes, sampler, given, noise_BTCHW)
        conditions, objective = self.config.conditions, self.config.objective
        predict = ScoreSum(self._network, objective, conditions.frames, told, terms_of(sampler, conditions))
        z_BTCHW = run(sampler, objective.schedule, predict, noise_BTCHW, fresh)
        return z_BTCHW if given is None else torch.where(given.mask_BT1HW > 0, given.z_BTCHW, z_BTCHW)

    def _told(self, wishes: Wishes, sampler: SamplerConfig, given: GivenLatents | None, noise_BTCHW: Tensor) -> Told:
        conditions, signals = self.config.conditions, dict[str, Tensor]()
        count = len(wishes.prompts)
        words_BL = nothing_said(self.config.text, len(self.frozen.vocabulary), count)
        if conditions.text is not None:
            words_BL = self.frozen.vocabulary.encode(wishes.prompts, self.config.text.max_words)
        if conditions.classes is not None:
            numbers = [None] * count if wishes.classes is None else wishes.classes
            values_B = torch.tensor([float("nan") if number is None else float(number) for number in numbers])
            signals["class_B"] = told_class(conditions.classes, values_B).to(self.device)
        if conditions.scores:
            scores = {name: torch.tensor(values, dtype=torch.float32) for name, values in (wishes.scores or {}).items()}
            signals["scores_BS"] = told_scores(conditions.scores, scores, count).to(self.device)
        return Told(words_BL.to(self.device), signals, self._frames(sampler, given, noise_BTCHW))

    def _frames(self, sampler: SamplerConfig, given: GivenLatents | None, noise_BTCHW: Tensor) -> Given | None:
        """Frames shown at the sampler's level with the noise that the sample starts from."""
        config = self.config.conditions.frames
        if config is None:
            if given is not None:
                raise ConfigError(
                    "frames are given; this model knows no frames; set conditions.frames in training, or give none"
                )
            return None
        if sampler.given_level > config.perturb_max:
            raise ConfigError(
                f"sampler.given_level is {sampler.given_level}; at most conditions.frames.perturb_max, "
                f"{config.perturb_max}, is allowed: other levels were never trained; lower it"
            )
        if given is None:
            given = GivenLatents(torch.zeros_like(noise_BTCHW), torch.zeros_like(noise_BTCHW[:, :, :1]))
        level_B = torch.full((len(noise_BTCHW),), sampler.given_level, device=self.device)
        return Given(given.z_BTCHW, given.mask_BT1HW, level_B, noise_BTCHW)

    def _given_latents(self, video_BTHWC: np.ndarray, mask: np.ndarray) -> GivenLatents:
        z_BTCHW = self.encode(torch.from_numpy(video_BTHWC))[:, :: self.config.latents.stride]
        frames_BT, (height, width) = tuple(z_BTCHW.shape[:2]), z_BTCHW.shape[3:]
        if mask.shape not in (frames_BT, (*frames_BT, height, width)):
            raise ConfigError(
                f"mask has shape {mask.shape}; {frames_BT} is allowed, a value per latent frame, or "
                f"{(*frames_BT, height, width)}, one per place; change it"
            )
        mask_BTHW = torch.from_numpy(mask.reshape(*mask.shape[:2], *(mask.shape[2:] or (1, 1)))).to(z_BTCHW)
        return GivenLatents(z_BTCHW, mask_BTHW[:, :, None].expand_as(z_BTCHW[:, :, :1]))

    def _noise(self, generators: Sequence[np.random.Generator]) -> Tensor:
        draws = [generator.standard_normal(self.frozen.latent_TCHW, dtype=np.float32) for generator in generators]
        white_BTCHW = torch.from_numpy(np.stack(draws)).to(self.device)
        return correlate(self.config.noise_prior, white_BTCHW)

    def _network(self, x_BTCHW: Tensor, t_BT: Tensor, words_BL: Tensor, given: Mapping[str, Tensor]) -> Tensor:
        with autocast(self.config.precision, self.device):
            return self.network(x_BTCHW, t_BT, words_BL, given)

    def _check_words(self, prompts: Sequence[str]) -> None:
        for prompt in prompts:
            unknown = self.frozen.vocabulary.unknown(prompt)
            if unknown:
                known = ", ".join(self.frozen.vocabulary.words[:40])
                raise ConfigError(f"prompt {prompt!r} has unknown words {unknown}; known are {known}; use those")


def with_overrides(config: TrainConfig, overrides: Sequence[str]) -> TrainConfig:
    """A config whose sampler and windows are changed, e.g. `guidance=2`, `kind=ddpm` or `windows.overlap=2`.

    Keys without `windows.` are the sampler's. Naming another kind starts from that kind's defaults.

    Raises:
        ConfigError: no such key, or a value that is not allowed.
    """
    data = config.resolved()
    changes = [text if text.startswith("windows.") else f"sampler.{text}" for text in overrides]
    for part in ("sampler", "windows"):
        named = [text.split("=", 1)[1] for text in changes if text.startswith(f"{part}.kind=")]
        if named and named[-1] != data[part]["kind"]:
            data[part] = {}
    return parse_config(TrainConfig, apply_overrides(data, changes), "sampler")


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
    weights = read(folder, "model")
    if averaged:
        weights |= read(folder, "ema")
    network.load_state_dict(weights)
    merge_lora(network)
    return TextToVideo(config, network.to(place).eval(), frozen, place)


def generate(path: Path, prompts: Sequence[str], seeds: Sequence[int] | None = None) -> np.ndarray:
    """Load and sample in one call; see `load` and `TextToVideo.generate`."""
    return load(path).generate(prompts, seeds)
