"""Every random number of training, keyed by (seed, epoch, sample): nothing to save, and no world size can change it.

Streams of a sample: 0 noise and level, 1 sampling, 2 the codec's stage, 3 conditions.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from train.conditions.masks import MaskDraws

_MASK64 = (1 << 64) - 1
_CONDITIONS = 3


@dataclass(frozen=True)
class Draws:
    """Standard draws of one batch, on the CPU.

    Attributes:
        normal_B, choice_B, uniform_B: what `training_t` asks for.
        drop_B: uniform, below the drop share leaves a clip without its text.
        white_BTCHW: standard normal.
    """

    normal_B: Tensor
    choice_B: Tensor
    uniform_B: Tensor
    drop_B: Tensor
    white_BTCHW: Tensor


@dataclass(frozen=True)
class ConditionDraws:
    """Uniform draws of one batch that decide over conditions (S scores; normal ones are named so).

    Attributes:
        all_B, text_B, class_B, frames_B, score_uniform_BS: below a drop share leaves the condition out.
        level_B: the level of given frames, as share of the largest.
        masks: which frames are given.
        score_normal_BS: perturbs scores.
    """

    all_B: Tensor
    text_B: Tensor
    class_B: Tensor
    frames_B: Tensor
    level_B: Tensor
    masks: MaskDraws
    score_uniform_BS: Tensor
    score_normal_BS: Tensor


def keyed(seed: int, epoch: int, sample: int, stream: int = 0) -> np.random.Generator:
    """Philox generator of one sample in one epoch (Salmon et al. 2011); streams of a sample do not overlap."""
    key = np.array([seed & _MASK64, sample & _MASK64], dtype=np.uint64)
    counter = np.array([0, 0, stream & _MASK64, epoch & _MASK64], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


def draw_batch(seed: int, epoch: int, samples: list[int], latent_TCHW: tuple[int, ...]) -> Draws:
    """Noise and levels of a batch: a row depends only on (seed, epoch, its sample)."""
    scalars_B4 = np.empty((len(samples), 4), np.float32)
    white_BTCHW = np.empty((len(samples), *latent_TCHW), np.float32)
    for row, sample in enumerate(samples):
        generator = keyed(seed, epoch, sample)
        scalars_B4[row, 0] = generator.standard_normal(dtype=np.float32)
        scalars_B4[row, 1:] = generator.random(3, dtype=np.float32)
        generator.standard_normal(dtype=np.float32, out=white_BTCHW[row])
    normal_B, choice_B, uniform_B, drop_B = torch.from_numpy(scalars_B4).unbind(dim=1)
    return Draws(normal_B, choice_B, uniform_B, drop_B, torch.from_numpy(white_BTCHW))


def draw_conditions(
    seed: int, epoch: int, samples: list[int], num_frames: int, num_scores: int, text_B: Tensor
) -> ConditionDraws:
    """What decides over conditions of a batch: a row depends only on (seed, epoch, its sample).

    Args:
        seed: of the run.
        epoch: of the batch.
        samples: ids.
        num_frames: latent frames of a clip.
        num_scores: score conditions.
        text_B: `Draws.drop_B`.
    """
    uniform_BU = np.empty((len(samples), 8 + num_frames), np.float32)
    scores_BS = np.empty((len(samples), 2, num_scores), np.float32)
    for row, sample in enumerate(samples):
        generator = keyed(seed, epoch, sample, _CONDITIONS)
        generator.random(dtype=np.float32, out=uniform_BU[row])
        scores_BS[row, 0] = generator.random(num_scores, dtype=np.float32)
        scores_BS[row, 1] = generator.standard_normal(num_scores, dtype=np.float32)
    uniform = torch.from_numpy(uniform_BU)
    all_B, class_B, frames_B, level_B, which_B = uniform[:, :5].unbind(dim=1)
    masks = MaskDraws(which_B, uniform[:, 5:8], uniform[:, 8:])
    score_uniform_BS, score_normal_BS = torch.from_numpy(scores_BS).unbind(dim=1)
    return ConditionDraws(all_B, text_B, class_B, frames_B, level_B, masks, score_uniform_BS, score_normal_BS)
