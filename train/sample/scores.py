"""The score as a weighted sum of scores: guidance of any kind is which conditions each term leaves out.

    text, scale g          g eps(text) + (1 - g) eps(no text)            Ho and Salimans 2022, eq. 6, g = 1 + w
    unconditional, w       (1 + w) eps(frames) - w eps(no frames)        He et al. 2022 (LVDM), section 3.4
    several conditions     a term for each set of them                   e.g. Brooks et al. 2023, eq. 3

Weights sum to 1, so at one x the same sum holds for eps, v, flow and the clean latent, each linear in the others. Where
frames are given, terms see different latents: the sum is right where nothing is given, and there alone it is used. In
given places the state follows a term to which nothing is given, so that it stays a sample of its own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from shards.errors import ConfigError
from train.conditions.columns import NO_CLASS
from train.conditions.config import Condition, ConditionsConfig
from train.conditions.frames import FramesConditionConfig, Given, see
from train.models.text import PAD
from train.objectives.objective import ObjectiveConfig, predicted_z
from train.sample.config import SamplerConfig, ScoreTermConfig

Network = Callable[[Tensor, Tensor, Tensor, Mapping[str, Tensor]], Tensor]


@dataclass(frozen=True)
class Told:
    """What a batch of samples is told.

    Attributes:
        words_BL: word ids.
        signals: class_B and scores_BS, as `Signals` reads them.
        frames: given frames; None exactly if the network knows no such condition.
    """

    words_BL: Tensor
    signals: Mapping[str, Tensor]
    frames: Given | None


def terms_of(sampler: SamplerConfig, conditions: ConditionsConfig) -> tuple[ScoreTermConfig, ...]:
    """The sum that a sampler asks for; without text and class a scale of guidance has nothing to act on.

    Raises:
        ConfigError: a term leaves out a condition that the network does not know.
    """
    if isinstance(sampler.guidance, tuple):
        for name in (name for term in sampler.guidance for name in term.drop):
            if name not in conditions.present:
                raise ConfigError(
                    f"sampler.guidance drops {name}; of this network {', '.join(conditions.present) or 'none'} may be "
                    "dropped; change it"
                )
        return sampler.guidance
    dropped: tuple[Condition, ...] = tuple(name for name in ("text", "class") if name in conditions.present)
    if sampler.guidance == 1 or not dropped:
        return (ScoreTermConfig(weight=1.0),)
    return (
        ScoreTermConfig(weight=sampler.guidance),
        ScoreTermConfig(weight=1 - sampler.guidance, drop=dropped),
    )


class ScoreSum:
    """(x_BTCHW, t_BT) to the clean latent that the sum implies; one call of the network for all terms."""

    def __init__(
        self,
        network: Network,
        objective: ObjectiveConfig,
        frames: FramesConditionConfig | None,
        told: Told,
        terms: Sequence[ScoreTermConfig],
    ) -> None:
        self.network, self.objective, self.frames, self.told, self.terms = network, objective, frames, told, terms

    def __call__(self, x_BTCHW: Tensor, t_BT: Tensor) -> Tensor:
        """The guided clean latent."""
        asked = [self._asked(term, x_BTCHW, t_BT) for term in self.terms]
        x, told_t, words = (torch.cat(parts) for parts in zip(*(part[:3] for part in asked), strict=True))
        given = {name: torch.cat([part[3][name] for part in asked]) for name in asked[0][3]}
        output = self.network(x, told_t, words, given)
        z = predicted_z(self.objective, output, x, t_BT.repeat(len(self.terms), 1))
        parts = z.chunk(len(self.terms))
        total_BTCHW = torch.stack([term.weight * part for term, part in zip(self.terms, parts, strict=True)]).sum(0)
        if self.told.frames is None:
            return total_BTCHW
        free = [part for term, part in zip(self.terms, parts, strict=True) if "frames" in term.drop]
        held_BTCHW = free[0] if free else self.told.frames.z_BTCHW
        return torch.where(self.told.frames.mask_BT1HW > 0, held_BTCHW, total_BTCHW)

    def _asked(
        self, term: ScoreTermConfig, x_BTCHW: Tensor, t_BT: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
        told, given = self.told, dict(self.told.signals)
        words_BL = torch.full_like(told.words_BL, PAD) if "text" in term.drop else told.words_BL
        if "class" in term.drop:
            given["class_B"] = torch.full_like(given["class_B"], NO_CLASS)
        if "scores" in term.drop:
            given["scores_BS"] = torch.full_like(given["scores_BS"], torch.nan)
        if told.frames is None or self.frames is None:
            return x_BTCHW, t_BT, words_BL, given
        frames, config = told.frames, self.frames
        # what training told clips with nothing given; LVDM's released sampler tells none, however they were trained
        unconditional = "zero" if config.uncond_level == "zero" else "none"
        if "frames" in term.drop:
            if config.given_in_uncond:
                x_BTCHW = see(config, self.objective, x_BTCHW, t_BT, frames, unconditional).x_BTCHW
            nothing = torch.zeros_like(frames.mask_BT1HW)
            frames = Given(frames.z_BTCHW, nothing, frames.level_B, frames.noise_BTCHW)
        seen = see(config, self.objective, x_BTCHW, t_BT, frames, unconditional)
        return seen.x_BTCHW, seen.told_BT, words_BL, given | {"maps_BTCHW": seen.maps_BTCHW, "level_B": seen.level_B}
