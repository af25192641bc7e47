"""Every random number of training, keyed by (seed, epoch, sample): nothing to save, and no world size can change it."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

_MASK64 = (1 << 64) - 1


@dataclass(frozen=True)
class Draws:
    """Standard draws of one batch, on the CPU.

    Attributes:
        normal_B, choice_B, tail_B: what `training_t` asks for.
        drop_B: uniform, below the drop share leaves a clip without its text.
        white_BTCHW: standard normal.
    """

    normal_B: Tensor
    choice_B: Tensor
    tail_B: Tensor
    drop_B: Tensor
    white_BTCHW: Tensor


def keyed(seed: int, epoch: int, sample: int, stream: int = 0) -> np.random.Generator:
    """Philox generator of one sample in one epoch (Salmon et al. 2011); streams of a sample do not overlap."""
    key = np.array([seed & _MASK64, sample & _MASK64], dtype=np.uint64)
    counter = np.array([0, 0, stream & _MASK64, epoch & _MASK64], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


def draw_batch(seed: int, epoch: int, samples: list[int], latent_TCHW: tuple[int, ...]) -> Draws:
    """All draws of a batch: a row depends only on (seed, epoch, its sample)."""
    scalars_B4 = np.empty((len(samples), 4), np.float32)
    white_BTCHW = np.empty((len(samples), *latent_TCHW), np.float32)
    for row, sample in enumerate(samples):
        generator = keyed(seed, epoch, sample)
        scalars_B4[row, 0] = generator.standard_normal(dtype=np.float32)
        scalars_B4[row, 1:] = generator.random(3, dtype=np.float32)
        generator.standard_normal(dtype=np.float32, out=white_BTCHW[row])
    normal_B, choice_B, tail_B, drop_B = torch.from_numpy(scalars_B4).unbind(dim=1)
    return Draws(normal_B, choice_B, tail_B, drop_B, torch.from_numpy(white_BTCHW))
