"""Clips of the toy world drawn in memory: a source for trainings that compare models and nothing else."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from reelmill.toyworld.render import Shot, draw_shot, render_shot
from reelmill.toyworld.world import Combination, combinations
from shards.plans.permutation import philox
from train.data import Clips, ClipSource


@dataclass(frozen=True)
class BouncingShot(Shot):
    """A shot whose shape turns around every `turn_s` seconds, so it stays in the picture for any length of time."""

    turn_s: float = 2.0

    def centre(self, time_s: float) -> tuple[float, float]:
        """The shape's centre at a time, shares of the side."""
        phase = time_s % (2 * self.turn_s)
        return super().centre(min(phase, 2 * self.turn_s - phase))


@dataclass(frozen=True)
class ToyClips(ClipSource):
    """A ClipSource: clips numbered from 0, each a random shot of one of the combinations that training may show.

    Attributes:
        num_clips: clips of an epoch.
        global_batch: clips of a step.
        num_frames, fps, size_px: of every clip.
        bouncing: shapes turn around and backgrounds stand still, for clips longer than a shape can cross.
        seed: of all of them.
    """

    num_clips: int
    global_batch: int
    num_frames: int
    fps: float
    size_px: int
    bouncing: bool = False
    seed: int = 0

    def captions(self) -> list[str]:
        """The sentences of all combinations that are shown."""
        return [combination.caption for combination in combinations("train")]

    def batches(self, rank: int, world_size: int, position: Mapping[str, Any] | None) -> Iterator[Clips]:
        """Endless batches; the order of an epoch depends on seed and epoch alone."""
        epoch, step = (position["epoch"], position["step"]) if position else (0, 0)
        steps_per_epoch = self.num_clips // self.global_batch
        while True:
            order = np.random.Generator(philox("toy order", self.seed, epoch)).permutation(self.num_clips)
            ids = order[step * self.global_batch : (step + 1) * self.global_batch][rank::world_size].tolist()
            epoch_of, step = epoch, step + 1
            if step == steps_per_epoch:
                epoch, step = epoch + 1, 0
            yield Clips(
                torch.from_numpy(np.stack([self.draw(number) for number in ids])),
                [self.combination(number).caption for number in ids],
                ids,
                [f"toy-{number:06d}" for number in ids],
                epoch_of,
                {"epoch": epoch, "step": step},
            )

    def combination(self, number: int) -> Combination:
        """What a clip shows: all combinations in turn."""
        shown = combinations("train")
        return shown[number % len(shown)]

    def draw(self, number: int) -> np.ndarray:
        """A clip's frames, uint8 THWC."""
        rng = np.random.Generator(philox("toy clip", self.seed, number))
        times_s = np.arange(self.num_frames) / self.fps
        if not self.bouncing:
            return render_shot(draw_shot(rng, self.combination(number), float(times_s[-1])), times_s, self.size_px)
        shot = replace(draw_shot(rng, self.combination(number), 2.0), drift_xy=(0.0, 0.0))
        return render_shot(BouncingShot(**vars(shot)), times_s + rng.uniform(0, 4.0), self.size_px)
