"""open_clip: pictures and texts into one space (D dimensions, unit length). One copy of the weights per process.

Weights are a folder or hub id in open_clip's own form (open_clip_config.json beside *.safetensors), or a bare weights
file whose architecture stands before the slash of `name`.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from curate.models.runtime import Runtime, inference, torch_device, torch_dtype
from curate.models.weights import ModelRef, Weights
from shards.config import Config
from shards.errors import ConfigError
from shards.ids import digest

if TYPE_CHECKING:
    import torch

PRECISION = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}


class OpenClipConfig(Config):
    """Which CLIP."""

    model: ModelRef = Field(description="Weights in open_clip's form: folder, hub id, or a bare weights file.")
    name: str = Field(
        pattern="^[^/]+/[^/]+$",
        description="<architecture>/<training>, as open_clip names them (ViT-L-14-quickgelu/openai); stored with every "
        "score, and compared with what an aesthetic head was trained on.",
    )
    dim: int = Field(default=512, ge=1, description="Dimensions of the embedding; checked against the weights.")
    runtime: Runtime = Runtime()

    @property
    def architecture(self) -> str:
        """The part of `name` before the slash."""
        return self.name.partition("/")[0]


class OpenClip:
    """A loaded CLIP. D = `config.dim`."""

    def __init__(self, config: OpenClipConfig, weights: Weights, key: str) -> None:
        import open_clip

        check_architecture(config, weights, key)
        self.runtime, self.dim = config.runtime, config.dim
        self.device = torch_device(config.runtime, f"{key}.runtime")
        self.dtype = torch_dtype(config.runtime)
        name, pretrained = _open_clip_arguments(config, weights)
        with _named(f"{key}.model at {weights.path}"):
            # typed as a bare Module by open_clip; it is a pair of the CLIP and a torchvision Compose
            loaded: Any = open_clip.create_model_from_pretrained(
                name, pretrained, precision=PRECISION[config.runtime.dtype], device=self.device
            )
            self.model, self.preprocess = loaded
            self.tokenizer = open_clip.get_tokenizer(name)
        self.model.eval()

    def embed_images(self, images_HWC: Sequence[np.ndarray]) -> np.ndarray:
        """float32, shape (N, D), unit length, of uint8 RGB pictures of any size."""
        import torch
        from PIL import Image

        with inference(self.runtime):
            images_NCHW = torch.stack([self.preprocess(Image.fromarray(image)) for image in images_HWC])
            return self._unit(self.model.encode_image(images_NCHW.to(self.device, self.dtype)))

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """float32, shape (N, D), unit length; what exceeds the model's context is cut off, as in its training."""
        with inference(self.runtime):
            return self._unit(self.model.encode_text(self.tokenizer(list(texts)).to(self.device)))

    def _unit(self, features_ND: "torch.Tensor") -> np.ndarray:
        unit_ND = features_ND.float() / features_ND.float().norm(dim=-1, keepdim=True)
        return unit_ND.cpu().numpy()


_LOADED: dict[str, OpenClip] = {}


def load_open_clip(config: OpenClipConfig, weights: Weights, key: str) -> OpenClip:
    """Load once per process: the stages that use the same weights share them."""
    identity = digest([config.resolved(), weights.revision])
    if identity not in _LOADED:
        _LOADED[identity] = OpenClip(config, weights, key)
    return _LOADED[identity]


def check_architecture(config: OpenClipConfig, weights: Weights, key: str) -> None:
    """Refuse weights whose own configuration contradicts `name` or `dim`, as far as open_clip knows the architecture.

    Raises:
        ConfigError: they differ, or there is no configuration to go by.
    """
    known = built_in_model_config(config.architecture)
    own = _folder_model_config(weights.path, key) if weights.path.is_dir() else known
    if own is None:
        raise ConfigError(
            f"{key}.name is {config.name!r} and the weights are a bare file; an architecture that open_clip knows is "
            f"allowed before the slash; change {key}.name, or use a folder with open_clip_config.json"
        )
    if own["embed_dim"] != config.dim:
        raise ConfigError(f"{key}.dim is {config.dim}; the weights have {own['embed_dim']}; set {key}.dim to that")
    for trait, value in _traits(own).items():
        expected = _traits(known or own).get(trait, value)
        if value != expected:
            raise ConfigError(
                f"{trait} of {weights.path} is {value}; {config.architecture} has {expected}; "
                f"change {key}.name or {key}.model"
            )


def built_in_model_config(architecture: str) -> dict[str, Any] | None:
    """open_clip's own description of an architecture, or None if it has none."""
    import open_clip

    return open_clip.get_model_config(architecture)


def _traits(model_config: dict[str, Any]) -> dict[str, Any]:
    """What tells architectures apart and is written down: the picture's tower, and the activation."""
    return {**model_config["vision_cfg"], "quick_gelu": model_config.get("quick_gelu", False)}


def _folder_model_config(folder: Path, key: str) -> dict[str, Any]:
    path = folder / "open_clip_config.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))["model_cfg"]
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            f"{path} is no open_clip configuration ({error}); a folder as open_clip saves it is allowed; "
            f"change {key}.model"
        ) from error


def _open_clip_arguments(config: OpenClipConfig, weights: Weights) -> tuple[str, str | None]:
    if weights.path.is_dir():
        return f"local-dir:{weights.path}", None
    return config.architecture, str(weights.path)


@contextmanager
def _named(what: str) -> Iterator[None]:
    """Say which weights did not load: open_clip's own errors do not."""
    from safetensors import SafetensorError

    try:
        yield
    except (RuntimeError, ValueError, OSError, AssertionError, SafetensorError) as error:
        raise ConfigError(
            f"{what} does not load ({error}); weights that fit their configuration are allowed; change it"
        ) from error
