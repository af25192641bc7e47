"""Conditions that are numbers, as one vector per clip that modulates every frame."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from train.conditions.columns import NO_CLASS
from train.conditions.config import ConditionsConfig
from train.conditions.frames import num_maps
from train.models.text import LevelEmbedding


class Signals(nn.Module):
    """Class, scores and the level of given frames; adds nothing at the start, so a net can gain it later.

    What is not told (class 0, NaN) has a learned vector of its own; only the level of given frames, when not told, adds
    nothing, as in LVDM.
    """

    def __init__(self, conditions: ConditionsConfig, width: int) -> None:
        super().__init__()
        classes, frames = conditions.classes, conditions.frames
        self.classes = None if classes is None else _zero(nn.Embedding(classes.num_classes + 1, width))
        self.scores = nn.ModuleList([_value(width) for _ in conditions.scores])
        self.no_score = nn.Parameter(torch.zeros(len(conditions.scores), width)) if conditions.scores else None
        told = frames is not None and frames.level_embedding == "label"
        self.level = _value(width) if told else None

    def forward(self, given: Mapping[str, Tensor]) -> Tensor:
        """Vectors of shape (B, 1, D) from class_B, scores_BS and level_B, as far as they are configured."""
        parts: list[Tensor] = []
        if self.classes is not None:
            parts.append(self.classes(given["class_B"]))
        if self.no_score is not None:
            for index, embed in enumerate(self.scores):
                value_B = given["scores_BS"][:, index]
                parts.append(torch.where(value_B.isnan()[:, None], self.no_score[index], embed(value_B.nan_to_num())))
        if self.level is not None:
            level_B = given["level_B"]
            parts.append(self.level(level_B.nan_to_num()) * ~level_B.isnan()[:, None])
        return torch.stack(parts).sum(0)[:, None]


def build_signals(conditions: ConditionsConfig, width: int) -> Signals | None:
    """The module of a config; None if no condition is a number."""
    signals = Signals(conditions, width)
    return signals if any(True for _ in signals.parameters()) else None


def nothing_told(conditions: ConditionsConfig, latent_TCHW: tuple[int, ...], num_rows: int) -> dict[str, Tensor]:
    """What a network reads besides words when nothing is told."""
    told: dict[str, Tensor] = {}
    if conditions.frames is not None:
        frames, channels, height, width = latent_TCHW
        told["maps_BTCHW"] = torch.zeros(num_rows, frames, num_maps(conditions.frames, channels), height, width)
        told["level_B"] = torch.full((num_rows,), torch.nan)
    if conditions.classes is not None:
        told["class_B"] = torch.full((num_rows,), NO_CLASS, dtype=torch.int64)
    if conditions.scores:
        told["scores_BS"] = torch.full((num_rows, len(conditions.scores)), torch.nan)
    return told


def _value(width: int) -> nn.Module:
    embed = LevelEmbedding(width)
    _zero(embed.net[-1])
    return embed


def _zero(layer: nn.Module) -> nn.Module:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
