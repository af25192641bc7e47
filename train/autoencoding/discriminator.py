"""A patch discriminator over space and time: which of its overlapping boxes of a video look real.

The 3-D form of Isola et al. 2017 (section 3.2). GroupNorm instead of BatchNorm: a clip's score does not depend on the
other clips of a batch, so any number of ranks computes the same loss.
"""

from itertools import pairwise
from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from shards.config import Config
from train.models.layers import check_divides

_GROUPS = 8


class DiscriminatorConfig(Config):
    """Patch discriminator."""

    width: int = Field(default=64, ge=8, description="Channels of the first layer; doubled by layer, at most 8 times.")
    num_layers: int = Field(default=3, ge=1, description="Layers behind the first; each but the last halves the size.")
    sees: Literal["boxes", "frames"] = Field(
        default="boxes", description="boxes: kernels over time too. frames: each frame alone, as LVDM's."
    )


class Discriminator(nn.Module):
    """Video to scores."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        check_divides("discriminator.width", _GROUPS, config.width)
        time = 3 if config.sees == "boxes" else 1
        kernel, padding = (time, 4, 4), (time // 2, 1, 1)
        channels = [config.width * min(2**layer, 8) for layer in range(config.num_layers + 1)]
        layers: list[nn.Module] = [nn.Conv3d(3, channels[0], kernel, (1, 2, 2), padding), nn.LeakyReLU(0.2)]
        for layer, (before, width) in enumerate(pairwise(channels)):
            stride = (1, 1, 1) if layer == config.num_layers - 1 else (1, 2, 2)
            layers += [
                nn.Conv3d(before, width, kernel, stride, padding, bias=False),
                nn.GroupNorm(_GROUPS, width),
                nn.LeakyReLU(0.2),
            ]
        self.layers = nn.Sequential(*layers, nn.Conv3d(channels[-1], 1, kernel, 1, padding))
        self.sees_frames = config.sees == "frames"
        self.apply(_start)

    def forward(self, pixels_BTCHW: Tensor) -> Tensor:
        """Scores of boxes, shape (B, 1, T, h, w): high for real."""
        if not self.sees_frames:
            return self.layers(pixels_BTCHW.transpose(1, 2))
        batch, frames = pixels_BTCHW.shape[:2]  # frames as clips of one, so that norms are theirs alone
        return (
            self.layers(pixels_BTCHW.flatten(0, 1)[:, :, None]).squeeze(2).unflatten(0, (batch, frames)).transpose(1, 2)
        )


def _start(module: nn.Module) -> None:
    if isinstance(module, nn.Conv3d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.GroupNorm):
        nn.init.normal_(module.weight, 1.0, 0.02)
