"""Everything a denoiser is told."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, model_validator

from shards.config import Config
from train.conditions.columns import ClassConditionConfig, ScoreConditionConfig
from train.conditions.frames import FramesConditionConfig
from train.conditions.text import TextConditionConfig

Condition = Literal["text", "class", "scores", "frames"]


class ConditionsConfig(Config):
    """The conditions; those that are null do not exist for the network."""

    text: TextConditionConfig | None = Field(
        default_factory=TextConditionConfig, description="The caption; null trains without text."
    )
    classes: ClassConditionConfig | None = Field(default=None, description="A class number from a column.")
    scores: tuple[ScoreConditionConfig, ...] = Field(default=(), description="Scores from columns.")
    frames: FramesConditionConfig | None = Field(default=None, description="Given frames.")
    drop_all: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of clips trained with every condition left out at once, besides what each one's drop does: "
        "unconditional guidance by several conditions asks for it.",
    )

    @model_validator(mode="after")
    def _columns_once(self) -> "ConditionsConfig":
        if len(set(self.columns)) < len(self.columns):
            raise ValueError(f"columns are {', '.join(self.columns)}; each once is allowed; remove the repetition")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the index that are told."""
        classes = () if self.classes is None else (self.classes.column,)
        return (*classes, *(score.column for score in self.scores))

    @property
    def present(self) -> tuple[Condition, ...]:
        """The conditions that exist."""
        exists: Mapping[Condition, bool] = {
            "text": self.text is not None,
            "class": self.classes is not None,
            "scores": bool(self.scores),
            "frames": self.frames is not None,
        }
        return tuple(name for name, there in exists.items() if there)
