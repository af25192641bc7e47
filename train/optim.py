"""AdamW, its learning rate over the budget, and its state by parameter name."""

from collections.abc import Mapping

import torch
from pydantic import Field, model_validator
from torch import Tensor

from shards.config import Config
from train.parallel import full, like


class OptimConfig(Config):
    """Optimiser."""

    learning_rate: float = Field(default=2e-3, gt=0, description="Peak learning rate.")
    beta1: float = Field(default=0.9, ge=0, lt=1, description="Decay of the first moment.")
    beta2: float = Field(default=0.99, ge=0, lt=1, description="Decay of the second moment.")
    weight_decay: float = Field(default=0.01, ge=0, description="Decoupled weight decay.")
    warmup_steps: int = Field(default=50, ge=0, description="Steps over which the rate rises linearly.")
    decay_share: float = Field(
        default=0.4, ge=0, le=1, description="Last share of the budget over which the rate falls linearly to 0."
    )
    clip_norm: float = Field(
        default=1.0, gt=0, description="Largest norm of the gradient; longer ones are scaled down."
    )


class BudgetConfig(Config):
    """When training ends: after steps, after seconds, or at the first of both. Only steps resume to the same losses."""

    steps: int | None = Field(default=None, ge=1, description="Optimiser steps.")
    seconds: float | None = Field(
        default=None, gt=0, description="Seconds spent in steps and data waits, over all resumes."
    )

    @model_validator(mode="after")
    def _some_end(self) -> "BudgetConfig":
        if self.steps is None and self.seconds is None:
            raise ValueError("steps and seconds are both null; one is needed; set budget.steps or budget.seconds")
        return self

    def progress(self, step: int, elapsed_s: float) -> float:
        """Share of the budget that is spent, in [0, 1]."""
        spent = [step / self.steps] if self.steps else []
        spent += [elapsed_s / self.seconds] if self.seconds else []
        return min(1.0, max(spent))


def learning_rate(config: OptimConfig, step: int, progress: float) -> float:
    """Rate of the step that follows `step` finished ones: linear warm-up, flat, linear decay."""
    warm = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    cool = min(1.0, (1 - progress) / config.decay_share) if config.decay_share else 1.0
    return config.learning_rate * min(warm, cool)


def build_optimizer(config: OptimConfig, parameters: Mapping[str, Tensor]) -> torch.optim.AdamW:
    """AdamW over named parameters; its rate is set before each step."""
    return torch.optim.AdamW(
        list(parameters.values()),
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        weight_decay=config.weight_decay,
        fused=True,
    )


def optimizer_tensors(optimizer: torch.optim.Optimizer, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The optimiser's state as whole tensors named `<state>/<parameter>`; every rank must call it."""
    return {
        f"{kind}/{name}": full(value)
        for name, parameter in parameters.items()
        for kind, value in optimizer.state[parameter].items()
    }


def load_optimizer(
    optimizer: torch.optim.Optimizer, parameters: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
) -> None:
    """Inverse of `optimizer_tensors`, onto parameters that may be sharded otherwise."""
    for name, tensor in tensors.items():
        kind, _, parameter_name = name.partition("/")
        parameter = parameters[parameter_name]
        optimizer.state[parameter][kind] = tensor.clone() if kind == "step" else like(tensor, parameter)
