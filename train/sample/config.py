"""How samples are drawn: which steps, at which levels, along which sum of scores."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from shards.config import Config
from train.conditions.config import Condition


class ScoreTermConfig(Config):
    """One score of a weighted sum."""

    weight: float = Field(description="Factor; those of all terms sum to 1.")
    drop: tuple[Condition, ...] = Field(default=(), description="Conditions left out in this term.")


class _SamplingConfig(Config):
    steps: int = Field(default=16, ge=1, description="Steps from noise to data; each asks the network once per term.")
    guidance: float | tuple[ScoreTermConfig, ...] = Field(
        default=3.0,
        description="Scale of classifier-free guidance by text and class, 1 is none; or a sum of scores, e.g. LVDM's "
        "(1 + w) conditional - w unconditional: [{weight: 1.1}, {weight: -0.1, drop: [frames]}].",
    )
    given_level: float = Field(
        default=0.0, ge=0, lt=1, description="Noise level s at which given frames are shown; at most perturb_max."
    )
    shift: float = Field(
        default=1.0, gt=0, description="Moves the levels visited towards noise, as in training; 1 is evenly spaced."
    )

    @model_validator(mode="after")
    def _sums_to_one(self) -> "_SamplingConfig":
        if isinstance(self.guidance, tuple):
            total = sum(term.weight for term in self.guidance)
            if abs(total - 1) > 1e-9:
                raise ValueError(
                    f"guidance has weights that sum to {total:g}; 1 is allowed, else the sum is no score at its level; "
                    "change them"
                )
        elif self.guidance < 0:
            raise ValueError(f"guidance is {self.guidance}; 0 or more is allowed; change it")
        return self


class _SpacedConfig(_SamplingConfig):
    spacing: Literal["trailing", "leading"] = Field(
        default="trailing",
        description="trailing: from t = 1 evenly to the end; leading: every (N // steps)-th of N levels from the "
        "first on, as LVDM.",
    )
    leading_offset: int = Field(default=0, ge=0, le=100, description="leading: levels to begin later; LVDM's is 1.")
    last_level: int = Field(
        default=0, ge=0, le=100, description="Level, of N, at which the last step ends: 0 is data; LVDM's is 1."
    )


class DdimConfig(_SpacedConfig):
    """Song et al. 2021, eq. 12."""

    kind: Literal["ddim"] = "ddim"
    eta: float = Field(
        default=0.0, ge=0, le=1, description="Share of fresh noise per step: 0 is deterministic, 1 is ancestral."
    )


class DdpmConfig(_SpacedConfig):
    """Ho et al. 2020, algorithm 2, between any two levels."""

    kind: Literal["ddpm"] = "ddpm"
    variance: Literal["small", "large"] = Field(
        default="small", description="Of fresh noise: the posterior's, or beta (Ho et al. 2020, section 3.2)."
    )


class EulerConfig(_SamplingConfig):
    """Euler's step along the velocity of the straight line; for schedule flow."""

    kind: Literal["euler"] = "euler"


SamplerConfig = Annotated[DdimConfig | DdpmConfig | EulerConfig, Field(discriminator="kind")]
