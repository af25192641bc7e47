"""Exponential moving average of the parameters, sharded as they are."""

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor

from shards.config import Config


class EmaConfig(Config):
    """Moving average of the weights, which samples are drawn from."""

    decay: float = Field(
        default=0.995, ge=0, lt=1, description="Share of the average kept per optimiser step, at most."
    )
    ramp: bool = Field(
        default=True, description="Begin with a short memory: decay is min(decay, (1 + n) / (10 + n)) after n steps."
    )


class Ema:
    """Average of named parameters; a function of optimiser steps, not of micro-batches."""

    def __init__(self, config: EmaConfig, parameters: Mapping[str, Tensor]) -> None:
        self._config = config
        self._parameters = dict(parameters)
        self.averages = {name: value.detach().clone() for name, value in self._parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move towards the parameters after optimiser step number `step` (from 1)."""
        weight = 1 - ema_decay(self._config, step)
        torch._foreach_lerp_(  # pyright: ignore[reportPrivateImportUsage]
            list(self.averages.values()), [value.detach() for value in self._parameters.values()], weight
        )


def ema_decay(config: EmaConfig, step: int) -> float:
    """Decay at a step: the ramp of TensorFlow's ExponentialMovingAverage(num_updates)."""
    return min(config.decay, (1 + step) / (10 + step)) if config.ramp else config.decay
