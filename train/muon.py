"""Muon: momentum of a hidden weight matrix, made orthogonal, is its step (Jordan et al. 2024)."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from train.parallel import like, whole

# Odd quintic whose iteration drives all singular values in (0, 1] near 1 (Jordan et al. 2024, "Muon: An optimizer for
# hidden layers in neural networks").
_A, _B, _C = 3.4445, -4.7750, 2.0315
_ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """Orthogonalised momentum for matrices and kernels; a kernel counts as (channels out, the rest).

    The step is scaled to the length that AdamW's has (RMS 0.2 per entry; Liu et al. 2025, "Muon is scalable for LLM
    training", equation 4), so one learning rate serves both. Sharded parameters give the same step as whole ones.
    torch.optim.Muon takes matrices alone, no kernels, and computes in bfloat16, which is slow on many CPUs.
    """

    def __init__(
        self, matrices: Iterable[Tensor] | Iterable[dict[str, Any]], lr: float, momentum: float, weight_decay: float
    ) -> None:
        super().__init__(matrices, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One step on every parameter that has a gradient; no closure is allowed."""
        assert closure is None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    ahead = self._momentum(parameter, parameter.grad, group["momentum"])
                    _step(parameter, ahead, group["lr"], group["weight_decay"])

    def _momentum(self, parameter: Tensor, gradient: Tensor, momentum: float) -> Tensor:
        """Nesterov's momentum after this gradient."""
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        average: Tensor = state["momentum"].lerp_(gradient, 1 - momentum)
        return gradient.lerp(average, momentum)


def _step(parameter: Tensor, ahead: Tensor, lr: float, weight_decay: float) -> None:
    ahead = whole(ahead)
    step_MN = orthogonal(ahead.flatten(1))
    step = step_MN.view_as(ahead).mul_(0.2 * max(step_MN.shape) ** 0.5)
    parameter.mul_(1 - lr * weight_decay).sub_(like(step, parameter), alpha=lr)


def orthogonal(matrix_MN: Tensor) -> Tensor:
    """U V^T of a matrix U S V^T, nearly: singular values end in about (0.7, 1.2), by Newton and Schulz's iteration."""
    x_MN = matrix_MN / (matrix_MN.norm() + 1e-7)
    if x_MN.shape[0] > x_MN.shape[1]:
        return _iterated(x_MN.T).T
    return _iterated(x_MN)


def _iterated(x_MN: Tensor) -> Tensor:
    for _ in range(_ITERATIONS):
        gram_MM = x_MN @ x_MN.T
        x_MN = torch.addmm(x_MN, torch.addmm(gram_MM, gram_MM, gram_MM, beta=_B, alpha=_C), x_MN, beta=_A)
    return x_MN
