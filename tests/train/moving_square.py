"""Clips for tests of training, drawn in memory: a coloured square that moves 1 px a frame, and says so."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from train.data import Clips, ClipSource

COLOURS = {"red": (220, 40, 40), "blue": (40, 60, 220)}
STEPS = {"left": -1, "right": 1}


class MovingSquares(ClipSource):
    """A ClipSource of `num_clips` clips of 4 frames of 16x16 px; order and batches depend on the epoch alone."""

    def __init__(self, num_clips: int = 16, global_batch: int = 4) -> None:
        names = [(colour, direction) for colour in COLOURS for direction in STEPS]
        self.names = [names[index % len(names)] for index in range(num_clips)]
        self.global_batch = global_batch
        self.videos = torch.from_numpy(np.stack([draw(*name, row=index % 8) for index, name in enumerate(self.names)]))

    def captions(self) -> list[str]:
        return [f"a {colour} square moves {direction}" for colour, direction in self.names]

    def batches(self, rank: int, world_size: int, position: Mapping[str, Any] | None) -> Iterator[Clips]:
        epoch, step = (position["epoch"], position["step"]) if position else (0, 0)
        steps_per_epoch = len(self.names) // self.global_batch
        while True:
            order = np.random.default_rng(epoch).permutation(len(self.names))
            ids = order[step * self.global_batch : (step + 1) * self.global_batch][rank::world_size].tolist()
            step_after = (epoch, step + 1) if step + 1 < steps_per_epoch else (epoch + 1, 0)
            yield Clips(
                self.videos[ids],
                [self.captions()[index] for index in ids],
                ids,
                [f"clip{index}" for index in ids],
                epoch,
                dict(zip(("epoch", "step"), step_after, strict=True)),
                {"kind": torch.tensor(ids) % 2.0, "motion": torch.tensor(ids) / 10},
            )
            epoch, step = step_after


def draw(colour: str, direction: str, row: int, frames: int = 4, side_px: int = 16) -> np.ndarray:
    """uint8 of shape (T, H, W, C): a 6 px square on grey."""
    video_THWC = np.full((frames, side_px, side_px, 3), 120, np.uint8)
    for frame in range(frames):
        left = 5 + STEPS[direction] * frame
        video_THWC[frame, row : row + 6, left : left + 6] = COLOURS[colour]
    return video_THWC


TINY = {
    "num_threads": 1,
    "device": "cpu",
    "precision": "fp32",
    "data": {
        "view": {"num_frames": 4, "height": 16, "width": 16},
        "plan": {"global_batch": 4},
    },
    "latents": {"num_batches": 2},
    "trunk": {"kind": "unet2d", "channels": [8, 16], "modulation_width": 16, "num_heads": 2},
    "text": {"width": 8, "num_heads": 2, "max_words": 5},
    "conditions": {"text": {"layout_channels": 2, "layout_px": 4}},
    "optim": {"warmup_steps": 2},
    "sampler": {"kind": "ddim", "steps": 2},
    "budget": {"steps": 6},
    "checkpoint": {"every_steps": 2},
    "metrics": {"every_steps": 1, "tensorboard": False, "mfu": False},
}
