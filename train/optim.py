"""Optimisers of a network, their learning rate over the budget, and their state by parameter name."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from shards.config import Config
from train.muon import Muon


class OptimConfig(Config):
    """Optimiser."""

    hidden: Literal["adamw", "muon"] = Field(
        default="adamw",
        description="Rule of hidden matrices and kernels; all else is AdamW's. muon: fewer steps, each one dearer.",
    )
    momentum: float = Field(default=0.95, ge=0, lt=1, description="Decay of Muon's momentum.")
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


def build_optimizers(
    config: OptimConfig,
    parameters: Mapping[str, Tensor],
    edges: Sequence[str],
    lr_scales: Mapping[str, float] | None = None,
) -> list[torch.optim.Optimizer]:
    """The optimisers of named parameters; the rate of each group is set before each step, times its `lr_scale`.

    Args:
        config: which rules.
        parameters: what trains.
        edges: prefixes of the names of embeddings, first and last layers, which are never Muon's.
        lr_scales: factor of the rate by name; default: 1.
    """
    hidden = {
        name: value
        for name, value in parameters.items()
        if config.hidden == "muon" and value.ndim >= 2 and not name.startswith(tuple(edges))
    }
    others = {name: value for name, value in parameters.items() if name not in hidden}
    scales = lr_scales or {}
    optimizers: list[torch.optim.Optimizer] = []
    if hidden:
        optimizers.append(Muon(_groups(hidden, scales), config.learning_rate, config.momentum, config.weight_decay))
    if others:
        betas = (config.beta1, config.beta2)
        optimizers.append(
            torch.optim.AdamW(
                _groups(others, scales), config.learning_rate, betas, weight_decay=config.weight_decay, fused=True
            )
        )
    return optimizers


def _groups(parameters: Mapping[str, Tensor], lr_scales: Mapping[str, float]) -> list[dict[str, Any]]:
    groups: dict[float, list[Tensor]] = {}
    for name, value in parameters.items():
        groups.setdefault(lr_scales.get(name, 1.0), []).append(value)
    return [{"params": values, "lr_scale": scale} for scale, values in groups.items()]


def optimizer_tensors(
    optimizers: Sequence[torch.optim.Optimizer], parameters: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The optimisers' state, sharded as it is, named `<state>/<parameter>`."""
    return {
        f"{kind}/{name}": value
        for name, parameter in parameters.items()
        for optimizer in optimizers
        for kind, value in optimizer.state.get(parameter, {}).items()
    }


def empty_state(
    optimizers: Sequence[torch.optim.Optimizer], parameters: Mapping[str, Tensor], names: Iterable[str]
) -> dict[str, Tensor]:
    """Give the optimisers the state that tensors of these names will fill: `optimizer_tensors` before a first step."""
    owners = {id(p): optimizer for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]}
    for name in names:
        kind, _, parameter_name = name.partition("/")
        parameter = parameters[parameter_name]
        value = torch.zeros(()) if kind == "step" else torch.zeros_like(parameter)
        owners[id(parameter)].state[parameter][kind] = value
    return optimizer_tensors(optimizers, parameters)
