"""The method `denoising`: one optimiser step on one batch."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from train.breakdown import Axis, Breakdown, frame_axis, level_axis, level_bins
from train.conditions.frames import Given, counted, noise_levels, see
from train.conditions.training import training_frames, training_signals, training_words
from train.config import TrainConfig
from train.data import Clips
from train.engine import Engine
from train.models.text import PAD
from train.objectives.noise import correlate
from train.objectives.objective import Corrupted, clip_losses, corrupt, errors, frame_losses
from train.objectives.timesteps import training_t
from train.parallel import World, full, mean_over_ranks, sum_over_ranks
from train.precision import autocast
from train.randomness import draw_batch, draw_conditions


@dataclass(frozen=True)
class StepValues:
    """What a step found, over all ranks; tensors are still on the device.

    Attributes:
        loss: mean over clips.
        sums: of the losses, as the breakdown gives them.
        gradient_norm: before clipping.
        skipped: loss or gradient was not finite, so nothing was changed.
        num_clips: of all ranks.
        num_frames: latent frames of each.
    """

    loss: Tensor
    sums: Tensor
    gradient_norm: Tensor
    skipped: bool
    num_clips: int
    num_frames: int


@dataclass(frozen=True)
class Example:
    """A batch as the network sees it, and what its output is held against.

    Attributes:
        z_BTCHW: clean latents.
        noise_BTCHW: of the prior's covariance.
        t_BT: noise level of each frame that is to be made.
        corrupted: the latent at those levels, given places at theirs.
        told_BT: noise level that the network is told.
        words_BL: word ids.
        given: other conditions.
        counted_BT1HW: places that count in the loss; None is all.
    """

    z_BTCHW: Tensor
    noise_BTCHW: Tensor
    t_BT: Tensor
    corrupted: Corrupted
    told_BT: Tensor
    words_BL: Tensor
    given: Mapping[str, Tensor]
    counted_BT1HW: Tensor | None
    bins: Mapping[str, Tensor]


class DenoisingStep:
    """Corrupt, predict, weigh, step, average."""

    def __init__(self, config: TrainConfig, engine: Engine, world: World, breakdown: Breakdown) -> None:
        self.config, self.engine, self.world, self.breakdown = config, engine, world, breakdown

    @staticmethod
    def axes(config: TrainConfig, engine: Engine) -> list[Axis]:
        """What the loss can be split by without knowing the data."""
        frames = frame_axis(engine.frozen.latent_TCHW[0])
        axes = [level_axis(config.metrics.level_bins), frames, Axis("text", ("with text", "without"))]
        return axes if config.conditions.frames is None else [*axes, Axis("given", ("no frame given", "some given"))]

    def __call__(self, clips: Clips, step: int, learning_rate: float) -> StepValues:
        """One step after `step` finished ones."""
        example = self.example(clips)
        losses_B, sums = self.losses(example)
        loss = losses_B.mean()
        for optimizer in self.engine.optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.engine.parameters.values(), self.config.optim.clip_norm)
        norm = full(norm)
        skipped = not bool(torch.isfinite(norm))
        if not skipped:
            self._update(step, learning_rate)
        return StepValues(
            mean_over_ranks(loss.detach(), self.world),
            sum_over_ranks(sums, self.world),
            norm,
            skipped,
            num_clips=len(example.z_BTCHW) * self.world.size,
            num_frames=example.z_BTCHW.shape[1],
        )

    @torch.no_grad()
    def example(self, clips: Clips) -> Example:
        """Latents, noise, levels and conditions of a batch; random only by (seed, epoch, sample)."""
        config, device, frozen = self.config, self.world.device, self.engine.frozen
        conditions = config.conditions
        z_BTCHW = frozen.scale.normalize(clips.encoded(frozen.codec, device))[:, :: config.latents.stride]
        num_frames = z_BTCHW.shape[1]
        draws = draw_batch(config.seed, clips.epoch, clips.ids, z_BTCHW.shape[1:])
        decisions = draw_conditions(
            config.seed, clips.epoch, clips.ids, num_frames, len(conditions.scores), draws.drop_B
        )
        words_BL = training_words(
            conditions, frozen.vocabulary, clips.captions, clips.keys, config.text.max_words, decisions
        )
        noise_BTCHW = correlate(config.noise_prior, draws.white_BTCHW.to(device))
        t_B = training_t(config.objective.timesteps, draws.normal_B, draws.choice_B, draws.uniform_B)
        t_BT = t_B.to(device)[:, None].expand(-1, num_frames)
        bins = {
            **clips.bins,
            "level": level_bins(t_BT, config.metrics.level_bins),
            "frame": torch.arange(num_frames),
            "text": (words_BL == PAD).flatten(1).all(1, keepdim=True).long(),
        }
        given = {
            name: value.to(device) for name, value in training_signals(conditions, clips.scores, decisions).items()
        }
        if conditions.frames is None:
            corrupted = corrupt(config.objective, z_BTCHW, noise_BTCHW, t_BT)
            return Example(z_BTCHW, noise_BTCHW, t_BT, corrupted, t_BT, words_BL.to(device), given, None, bins)
        frames = training_frames(conditions.frames, z_BTCHW, noise_BTCHW, conditions.drop_all, decisions)
        return self._with_frames(t_BT, words_BL.to(device), given, frames, bins)

    def _with_frames(
        self, t_BT: Tensor, words_BL: Tensor, given: dict[str, Tensor], frames: Given, bins: dict[str, Tensor]
    ) -> Example:
        config, objective = self.config.conditions.frames, self.config.objective
        assert config is not None
        z_BTCHW, noise_BTCHW = frames.z_BTCHW, frames.noise_BTCHW
        corrupted = corrupt(objective, z_BTCHW, noise_BTCHW, noise_levels(config, frames, t_BT))
        seen = see(config, objective, corrupted.x_BTCHW, t_BT, frames, config.uncond_level)
        given |= {"maps_BTCHW": seen.maps_BTCHW, "level_B": seen.level_B}
        bins["given"] = frames.mask_BT1HW.flatten(1).any(1, keepdim=True).long()
        counts = counted(config, frames.mask_BT1HW)
        return Example(z_BTCHW, noise_BTCHW, t_BT, corrupted, seen.told_BT, words_BL, given, counts, bins)

    def losses(self, example: Example) -> tuple[Tensor, Tensor]:
        """Loss of each clip, and its sums over the breakdown's bins."""
        objective, corrupted = self.config.objective, example.corrupted
        with autocast(self.config.precision, self.world.device):
            output_BTCHW = self.engine.network(corrupted.x_BTCHW, example.told_BT, example.words_BL, example.given)
        losses_BT, counted_BT = frame_losses(
            errors(objective, output_BTCHW, example.z_BTCHW, example.noise_BTCHW, corrupted), example.counted_BT1HW
        )
        sums = self.breakdown.sums(losses_BT.detach(), example.bins, counted_BT)
        return clip_losses(losses_BT, counted_BT), sums

    def _update(self, step: int, learning_rate: float) -> None:
        for optimizer in self.engine.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * group["lr_scale"]
            optimizer.step()
        self.engine.ema.update(step + 1)
