"""LAION's aesthetic heads as one affine map of a unit CLIP embedding (D dimensions) to a score of about 1 to 10.

Both published heads are affine: the linear one is a single layer, and the "improved" one is five linear layers with
dropout but no activation between them, so that it folds into a single layer as well.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shards.errors import ConfigError

LINEAR_LAYERS = ("",)  # LAION-AI/aesthetic-predictor: nn.Linear
MLP_LAYERS = tuple(f"layers.{index}." for index in (0, 2, 4, 6, 7))  # christophschuhmann/improved-aesthetic-predictor


@dataclass(frozen=True)
class AestheticHead:
    """score = weight (D) · embedding (D) + bias."""

    weight: np.ndarray
    bias: float

    def score(self, embedding_D: np.ndarray) -> float:
        """The score of one embedding; of a mean of embeddings, the mean of their scores."""
        return float(self.weight @ embedding_D.astype(np.float64) + self.bias)


def load_aesthetic_head(path: Path, key: str) -> AestheticHead:
    """Read a head's state dict (safetensors, or a .pth without pickled code).

    Raises:
        ConfigError: the file is no state dict of one of the two published heads.
    """
    state = _state_dict(path, key)
    for prefixes in (LINEAR_LAYERS, MLP_LAYERS):
        if set(state) == {f"{prefix}{part}" for prefix in prefixes for part in ("weight", "bias")}:
            return fold([(state[f"{prefix}weight"], state[f"{prefix}bias"]) for prefix in prefixes])
    raise ConfigError(
        f"{path} has the tensors {sorted(state)[:4]}…; LAION's linear head (weight, bias) or its improved MLP "
        f"(layers.0, 2, 4, 6, 7) is allowed; change {key}.path"
    )


def fold(layers: list[tuple[np.ndarray, np.ndarray]]) -> AestheticHead:
    """Compose affine layers (weight (out, in), bias (out)), first to last, the last with one output, in float64."""
    weight, bias = np.eye(layers[0][0].shape[1]), np.zeros(layers[0][0].shape[1])
    for layer_weight, layer_bias in layers:
        weight, bias = layer_weight.astype(np.float64) @ weight, layer_weight @ bias + layer_bias
    return AestheticHead(weight[0], float(bias[0]))


def _state_dict(path: Path, key: str) -> Mapping[str, np.ndarray]:
    import pickle

    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
        return {name: tensor.float().numpy() for name, tensor in state.items()}
    except (OSError, RuntimeError, pickle.UnpicklingError, SafetensorError, AttributeError) as error:
        raise ConfigError(
            f"{path} is no state dict ({str(error).splitlines()[0]}); a .safetensors, or a .pth without pickled code, "
            f"is allowed; change {key}.path"
        ) from error
