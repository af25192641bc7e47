"""Frames as a condition: prediction, interpolation, image-to-video, inpainting and long video are this one module.

Given places are shown at a noise level s (conditional latent perturbation, He et al. 2022, LVDM, section 3.4). Three
choices in which LVDM's released code differs from its paper are switches: `uncond_level`, `given_in_uncond` and
`given_in_loss`; their defaults are the consistent ones.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from shards.config import Config
from train.conditions.masks import MaskConfig, PredictionMaskConfig
from train.objectives.objective import ObjectiveConfig, corrupt

UncondLevel = Literal["none", "random", "zero"]


class FramesConditionConfig(Config):
    """Which frames are given, at which noise level, and what the network knows of it."""

    masks: tuple[MaskConfig, ...] = Field(
        default=(PredictionMaskConfig(),), min_length=1, description="Which places are given; drawn by weight."
    )
    injection: Literal["replace", "concat"] = Field(
        default="replace",
        description="replace: given places stand in the noisy latent; concat: they are channels beside it. Both with "
        "the mask as a channel.",
    )
    drop: float = Field(default=0.1, ge=0, le=1, description="Share of clips trained with nothing given.")
    perturb_max: float = Field(
        default=0.0, ge=0, lt=1, description="s_max: given places are shown at a level drawn from [0, s_max]."
    )
    level_embedding: Literal["none", "label", "frame"] = Field(
        default="none",
        description="How the network is told s. label: one vector per clip beside the level t; frame: s is the level "
        "of the given frames, t that of the others.",
    )
    uncond_level: UncondLevel = Field(
        default="none",
        description="label: what a clip with nothing given is told as s. random, as LVDM's released code trains, "
        "differs from what its sampler tells: none.",
    )
    given_in_uncond: bool = Field(
        default=False,
        description="Sampling: the unconditional branch sees given frames in its latent, as in LVDM's released code.",
    )
    given_in_loss: bool = Field(
        default=False, description="Given places count in the loss, as in LVDM's released code."
    )

    @model_validator(mode="after")
    def _level_is_told_somewhere(self) -> "FramesConditionConfig":
        if self.uncond_level != "none" and self.level_embedding != "label":
            raise ValueError(
                f"uncond_level is {self.uncond_level} with level_embedding {self.level_embedding}, which tells a clip "
                "with nothing given no s; none is allowed, or level_embedding label; change one of them"
            )
        if self.level_embedding == "label" and not self.perturb_max:
            raise ValueError(
                "level_embedding is label with perturb_max 0, so it would always say 0; perturb_max > 0 or "
                "level_embedding none or frame are allowed; change one of them"
            )
        return self

    @model_validator(mode="after")
    def _switches_of_replacement(self) -> "FramesConditionConfig":
        if self.injection == "concat" and (self.level_embedding == "frame" or self.given_in_uncond):
            raise ValueError(
                f"injection is concat with level_embedding {self.level_embedding} and given_in_uncond "
                f"{self.given_in_uncond}, but then all frames of the latent are at level t; label or none, and false "
                "are allowed; change them or set injection: replace"
            )
        return self


@dataclass(frozen=True)
class Given:
    """Frames that are given.

    Attributes:
        z_BTCHW: clean latents; read where the mask is 1.
        mask_BT1HW: 1 where a place is given.
        level_B: s, the noise level at which they are shown.
        noise_BTCHW: what they are shown with.
    """

    z_BTCHW: Tensor
    mask_BT1HW: Tensor
    level_B: Tensor
    noise_BTCHW: Tensor

    def shown(self, objective: ObjectiveConfig) -> Tensor:
        """The given latents at their level."""
        level_BT = self.level_B[:, None].expand(self.z_BTCHW.shape[:2])
        return corrupt(objective, self.z_BTCHW, self.noise_BTCHW, level_BT).x_BTCHW


@dataclass(frozen=True)
class Seen:
    """What the network gets of a noisy latent and given frames.

    Attributes:
        x_BTCHW: noisy latent, given places replaced if they are.
        told_BT: the noise level that the network is told of each frame.
        maps_BTCHW: channels beside the latent.
        level_B: s as the network is told it, NaN is nothing.
    """

    x_BTCHW: Tensor
    told_BT: Tensor
    maps_BTCHW: Tensor
    level_B: Tensor


def see(
    config: FramesConditionConfig,
    objective: ObjectiveConfig,
    x_BTCHW: Tensor,
    t_BT: Tensor,
    given: Given,
    unconditional: UncondLevel,
) -> Seen:
    """Show given frames beside or within a noisy latent at level t.

    Args:
        config: how they are shown.
        objective: its schedule corrupts them.
        x_BTCHW: noisy latent.
        t_BT: its level.
        given: the frames.
        unconditional: what rows with nothing given are told as s.
    """
    mask, told_BT = given.mask_BT1HW, t_BT
    shown_BTCHW = given.shown(objective)
    maps_BTCHW = mask if config.injection == "replace" else torch.cat([mask, mask * shown_BTCHW], dim=2)
    if config.injection == "replace":
        x_BTCHW = torch.where(mask > 0, shown_BTCHW, x_BTCHW)
    if config.level_embedding == "frame":
        told_BT = torch.where(mask.amin(dim=(2, 3, 4)) > 0, given.level_B[:, None], t_BT)
    return Seen(x_BTCHW, told_BT, maps_BTCHW, _told_level(config, given, unconditional))


def _told_level(config: FramesConditionConfig, given: Given, unconditional: UncondLevel) -> Tensor:
    if config.level_embedding != "label":
        return torch.full_like(given.level_B, torch.nan)
    if unconditional == "random":
        return given.level_B
    nothing_B = given.mask_BT1HW.amax(dim=(1, 2, 3, 4)) == 0
    instead = torch.nan if unconditional == "none" else 0.0
    return torch.where(nothing_B, torch.full_like(given.level_B, instead), given.level_B)


def noise_levels(config: FramesConditionConfig, given: Given, t_BT: Tensor) -> Tensor:
    """The level at which each place of the corrupted latent is, [B, T, 1, H, W]: s where it was replaced, else t."""
    t_BT111 = t_BT[..., None, None, None]
    if config.injection == "concat":
        return t_BT111
    return torch.where(given.mask_BT1HW > 0, given.level_B[:, None, None, None, None], t_BT111)


def counted(config: FramesConditionConfig, mask_BT1HW: Tensor) -> Tensor | None:
    """Which places count in the loss, [B, T, 1, H, W]; None is all."""
    return None if config.given_in_loss else 1 - mask_BT1HW


def num_maps(config: FramesConditionConfig | None, latent_channels: int) -> int:
    """Channels that stand beside the latent."""
    if config is None:
        return 0
    return 1 + (latent_channels if config.injection == "concat" else 0)
