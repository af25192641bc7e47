"""One generator of masks: which places of a latent are given. 1 is given, 0 is to be made.

prediction      the first frames; one of them is image-to-video
interpolation   frames at both ends
inpainting      all but a box, the same in all frames
random          each frame by chance
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from shards.config import Config
from shards.errors import ConfigError


class _WeightedConfig(Config):
    weight: float = Field(default=1.0, gt=0, description="Share among the masks, relative to the others.")


class PredictionMaskConfig(_WeightedConfig):
    """The first latent frames are given; with one, this is image-to-video."""

    kind: Literal["prediction"] = "prediction"
    num_given: int = Field(default=1, ge=1, description="Latent frames given.")


class InterpolationMaskConfig(_WeightedConfig):
    """Latent frames at both ends are given."""

    kind: Literal["interpolation"] = "interpolation"
    num_each_end: int = Field(default=1, ge=1, description="Latent frames given at each end.")


class InpaintingMaskConfig(_WeightedConfig):
    """Everything but a box is given."""

    kind: Literal["inpainting"] = "inpainting"
    min_side: float = Field(
        default=0.25, gt=0, le=1, description="Smallest side of the box, as share of the picture's."
    )
    max_side: float = Field(default=0.75, gt=0, le=1, description="Largest side of the box, as share of the picture's.")

    @model_validator(mode="after")
    def _rises(self) -> "InpaintingMaskConfig":
        if self.min_side > self.max_side:
            raise ValueError(
                f"min_side is {self.min_side} and max_side is {self.max_side}; min_side <= max_side is allowed; "
                "change them"
            )
        return self


class RandomMaskConfig(_WeightedConfig):
    """Each latent frame is given by chance; where chance gives all, the last is not."""

    kind: Literal["random"] = "random"
    share: float = Field(default=0.5, gt=0, lt=1, description="Probability that a frame is given.")


MaskConfig = Annotated[
    PredictionMaskConfig | InterpolationMaskConfig | InpaintingMaskConfig | RandomMaskConfig,
    Field(discriminator="kind"),
]


@dataclass(frozen=True)
class MaskDraws:
    """Uniform draws in [0, 1) that decide over masks.

    Attributes:
        which_B: which of the masks.
        box_B3: place of the box (down, right) and its side.
        frames_BT: of each frame.
    """

    which_B: Tensor
    box_B3: Tensor
    frames_BT: Tensor


def draw_masks(configs: Sequence[MaskConfig], draws: MaskDraws, latent_TCHW: tuple[int, ...]) -> Tensor:
    """A mask per row, float32 of shape [B, T, 1, H, W].

    Raises:
        ConfigError: a mask leaves no frame to make.
    """
    frames, _, height, width = latent_TCHW
    weights = torch.tensor([config.weight for config in configs], dtype=torch.float64)
    ends = (weights.cumsum(0) / weights.sum()).tolist()
    rows = []
    for row, which in enumerate(draws.which_B.tolist()):
        config = next(config for config, end in zip(configs, [*ends[:-1], 1.0], strict=True) if which < end)
        if isinstance(config, InpaintingMaskConfig):
            rows.append(_all_but_a_box(config, draws.box_B3[row].tolist(), frames, height, width))
            continue
        given_T = _given_frames(config, draws.frames_BT[row])
        rows.append(given_T.float()[:, None, None, None].expand(frames, 1, height, width))
    return torch.stack(rows)


def _given_frames(config: MaskConfig, uniform_T: Tensor) -> Tensor:
    frames = len(uniform_T)
    place_T = torch.arange(frames)
    if isinstance(config, PredictionMaskConfig):
        given_T = place_T < config.num_given
    elif isinstance(config, InterpolationMaskConfig):
        given_T = (place_T < config.num_each_end) | (place_T >= frames - config.num_each_end)
    else:
        given_T = uniform_T < config.share if isinstance(config, RandomMaskConfig) else place_T < 0
        given_T[-1] &= not bool(given_T.all())
    if bool(given_T.all()):
        raise ConfigError(
            f"conditions.frames.masks has {config.kind} that gives all of {frames} latent frames; one at least must be "
            "left to make; give fewer, or lengthen data.view"
        )
    return given_T


def _all_but_a_box(
    config: InpaintingMaskConfig, draws: Sequence[float], frames: int, height: int, width: int
) -> Tensor:
    down, right, size = draws
    side = config.min_side + (config.max_side - config.min_side) * size
    box_height, box_width = max(1, round(side * height)), max(1, round(side * width))
    top, left = int(down * (height - box_height + 1)), int(right * (width - box_width + 1))
    mask_T1HW = torch.ones(frames, 1, height, width)
    mask_T1HW[:, :, top : top + box_height, left : left + box_width] = 0
    return mask_T1HW
