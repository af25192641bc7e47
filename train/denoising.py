"""The method `denoising`: one optimiser step on one batch."""

from dataclasses import dataclass

import torch
from torch import Tensor

from train.conditions import caption_words, drop_text
from train.config import TrainConfig
from train.data import Clips
from train.engine import Engine
from train.metrics import sums_by_level
from train.models.codec import pixels_of
from train.objectives.noise import correlate
from train.objectives.objective import clip_losses, corrupt, errors, frame_losses
from train.objectives.timesteps import training_t
from train.parallel import World, full, mean_over_ranks, sum_over_ranks
from train.precision import autocast
from train.randomness import Draws, draw_batch


@dataclass(frozen=True)
class StepValues:
    """What a step found, over all ranks; tensors are still on the device.

    Attributes:
        loss: mean over clips.
        by_level: sums and counts from `sums_by_level`.
        gradient_norm: before clipping.
        skipped: loss or gradient was not finite, so nothing was changed.
    """

    loss: Tensor
    by_level: Tensor
    gradient_norm: Tensor
    skipped: bool


@dataclass(frozen=True)
class Example:
    """A batch as the network sees it."""

    z_BTCHW: Tensor
    noise_BTCHW: Tensor
    t_BT: Tensor
    words_BL: Tensor


class DenoisingStep:
    """Corrupt, predict, weigh, step, average."""

    def __init__(self, config: TrainConfig, engine: Engine, world: World) -> None:
        self.config, self.engine, self.world = config, engine, world

    def __call__(self, clips: Clips, step: int, learning_rate: float) -> StepValues:
        """One step after `step` finished ones."""
        example = self.example(clips)
        loss, by_level = self._loss(example)
        for optimizer in self.engine.optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.engine.parameters.values(), self.config.optim.clip_norm)
        norm = full(norm)
        skipped = not bool(torch.isfinite(norm))
        if not skipped:
            self._update(step, learning_rate)
        return StepValues(
            mean_over_ranks(loss.detach(), self.world), sum_over_ranks(by_level, self.world), norm, skipped
        )

    @torch.no_grad()
    def example(self, clips: Clips) -> Example:
        """Latents, noise, levels and words of a batch; random only by (seed, epoch, sample)."""
        config, device, frozen = self.config, self.world.device, self.engine.frozen
        draws: Draws = draw_batch(config.seed, clips.epoch, clips.ids, frozen.latent_TCHW)
        words_BL = caption_words(frozen.vocabulary, clips.captions, clips.keys, config.text.max_words)
        words_BL = drop_text(words_BL, draws.drop_B, config.conditions.text.drop)
        t_B = training_t(config.objective.timesteps, draws.normal_B, draws.choice_B, draws.tail_B)
        z_BTCHW = frozen.scale.normalize(frozen.codec.encode(pixels_of(clips.video_BTHWC.to(device))))
        return Example(
            z_BTCHW,
            correlate(config.noise_prior, draws.white_BTCHW.to(device)),
            t_B.to(device)[:, None].expand(-1, z_BTCHW.shape[1]),
            words_BL.to(device),
        )

    def _loss(self, example: Example) -> tuple[Tensor, Tensor]:
        objective = self.config.objective
        corrupted = corrupt(objective, example.z_BTCHW, example.noise_BTCHW, example.t_BT)
        with autocast(self.config.precision, self.world.device):
            output_BTCHW = self.engine.network(corrupted.x_BTCHW, example.t_BT, example.words_BL)
        losses_BT, counted_BT = frame_losses(
            errors(objective, output_BTCHW, example.z_BTCHW, example.noise_BTCHW, corrupted)
        )
        by_level = sums_by_level(losses_BT.detach(), example.t_BT, self.config.metrics.level_bins)
        return clip_losses(losses_BT, counted_BT).mean(), by_level

    def _update(self, step: int, learning_rate: float) -> None:
        for optimizer in self.engine.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate
            optimizer.step()
        self.engine.ema.update(step + 1)
