"""Low-rank updates (Hu et al. 2022, eq. 3): W + alpha / rank * up down, with up zero at the start.

A parametrization of torch: whoever reads `weight` gets the sum, so no module has to know, and merging is removing it.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from shards.errors import ConfigError
from train.parameters.policy import LORA_PART, LoraParametersConfig, fits

_KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_ORIGINAL = ".parametrizations.weight.original"


class LowRank(nn.Module):
    """weight + scale * up down, in the weight's shape."""

    def __init__(self, weight: Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        rows, columns = weight.shape[0], weight[0].numel()
        self.scale = alpha / rank
        self.lora_down = nn.Parameter(torch.randn(rank, columns, device=weight.device) / rank)
        self.lora_up = nn.Parameter(torch.zeros(rows, rank, device=weight.device))

    def forward(self, weight: Tensor) -> Tensor:
        """The updated weight."""
        return weight + self.scale * (self.lora_up @ self.lora_down).view_as(weight)


def add_lora(config: LoraParametersConfig, network: nn.Module) -> None:
    """Put an update beside every target; the network's function does not change.

    Raises:
        ConfigError: a pattern fits no matrix or kernel.
    """
    modules = {name: module for name, module in network.named_modules() if isinstance(module, _KINDS)}
    for pattern in config.targets:
        if not any(fits(name, [pattern]) for name in modules):
            raise ConfigError(
                f"parameters.targets has {pattern!r}; it fits none of {len(modules)} modules with a matrix or kernel; "
                "see their names in `train plan`, without `.weight`"
            )
    for name, module in modules.items():
        if fits(name, config.targets):
            parametrize.register_parametrization(module, "weight", LowRank(module.weight, config.rank, config.alpha))


@torch.no_grad()
def merge_lora(network: nn.Module) -> None:
    """Add every update to its weight: names and sizes are those of a network without updates."""
    for module in list(network.modules()):
        if isinstance(module, _KINDS) and parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)


def merged(tensors: Mapping[str, Tensor], config: LoraParametersConfig) -> dict[str, Tensor]:
    """Tensors of a network with updates, as those of one without."""
    found: dict[str, Tensor] = {}
    for name, value in tensors.items():
        if name.endswith(_ORIGINAL):
            part = name.removesuffix("original") + "0"
            update = tensors[f"{part}.lora_up"] @ tensors[f"{part}.lora_down"]
            found[name_without_lora(name)] = value + config.alpha / config.rank * update.view_as(value)
        elif LORA_PART not in name:
            found[name] = value
    return found


def name_without_lora(name: str) -> str:
    """A parameter's name in a network without updates."""
    return name.replace(_ORIGINAL, ".weight")
