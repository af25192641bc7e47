"""Targets: what the network predicts, and the clean latent that a prediction implies.

    x0     the data itself, z
    eps    the noise n                                      Ho et al. 2020, eq. 14
    v      alpha n - sigma z                                Salimans and Ho 2022, appendix D
    flow   n - z, the velocity of the straight line         Liu et al. 2022, eq. 1

Each inverse holds for any alpha, sigma: a target does not ask for a schedule.
"""

from typing import Literal

from torch import Tensor

Target = Literal["eps", "v", "x0", "flow"]


def target_of(target: Target, z: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """What the network should say about x = alpha z + sigma noise."""
    if target == "x0":
        return z
    if target == "eps":
        return noise
    if target == "v":
        return alpha * noise - sigma * z
    return noise - z


def z_from(target: Target, output: Tensor, x: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """The clean latent implied by the network's output at x = alpha z + sigma noise."""
    if target == "x0":
        return output
    if target == "eps":
        return (x - sigma * output) / alpha
    if target == "v":
        return (alpha * x - sigma * output) / (alpha**2 + sigma**2)
    return (x - sigma * output) / (alpha + sigma)


def z_per_output(target: Target, alpha: Tensor, sigma: Tensor) -> Tensor:
    """|d z / d output| of `z_from`: turns an error of the output into an error of the clean latent."""
    if target == "x0":
        return (alpha + sigma) * 0 + 1
    if target == "eps":
        return sigma / alpha
    if target == "v":
        return sigma / (alpha**2 + sigma**2)
    return sigma / (alpha + sigma)
