"""Columns of the shards' index as conditions: a class number, and scores within a range.

A null in the index is "not told", the same as a dropped value: the network learns one meaning for both.
"""

from collections.abc import Mapping, Sequence

import torch
from pydantic import Field, model_validator
from torch import Tensor

from shards.config import Config
from shards.errors import ContractError

NO_CLASS = 0  # classes are told as 1 + their number


class ClassConditionConfig(Config):
    """One column of whole numbers, each with a learned vector."""

    column: str = Field(description="Column of the index; its values are 0 to num_classes - 1.")
    num_classes: int = Field(ge=1, description="Number of classes.")
    drop: float = Field(default=0.1, ge=0, lt=1, description="Share of clips trained without their class.")


class ScoreConditionConfig(Config):
    """One column of scores, told as its place between two values."""

    column: str = Field(description="Column of the index, e.g. motion_px_per_s.")
    low: float = Field(description="Score told as 0, in the column's unit; lower ones too.")
    high: float = Field(description="Score told as 1, in the column's unit; higher ones too.")
    drop: float = Field(default=0.1, ge=0, lt=1, description="Share of clips trained without this score.")
    perturb: float = Field(
        default=0.0, ge=0, le=1, description="Deviation of noise added to the told value, which lies in [0, 1]."
    )

    @model_validator(mode="after")
    def _rises(self) -> "ScoreConditionConfig":
        if not self.low < self.high:
            raise ValueError(f"low is {self.low} and high {self.high}; low < high is allowed; change them")
        return self


def told_class(config: ClassConditionConfig, values_B: Tensor) -> Tensor:
    """Class numbers to 1 + number, int64; null (NaN) to 0.

    Raises:
        ContractError: a value is no class.
    """
    is_null_B = values_B.isnan()
    bad_B = ~is_null_B & ((values_B != values_B.round()) | (values_B < 0) | (values_B >= config.num_classes))
    if bool(bad_B.any()):
        raise ContractError(
            f"{config.column} is {float(values_B[bad_B][0])}; whole numbers from 0 to {config.num_classes - 1} are "
            "allowed; set conditions.classes.num_classes, or choose another column"
        )
    return torch.where(is_null_B, torch.full_like(values_B, NO_CLASS), values_B + 1).long()


def told_scores(configs: Sequence[ScoreConditionConfig], scores: Mapping[str, Tensor], num_rows: int) -> Tensor:
    """Each score's place between its low and high, in [0, 1], shape (B, S); null, or no such column, is NaN."""
    if not configs:
        return torch.zeros(num_rows, 0)
    columns = [
        ((scores[config.column].float() - config.low) / (config.high - config.low)).clamp(0, 1)
        if config.column in scores
        else torch.full((num_rows,), torch.nan)
        for config in configs
    ]
    return torch.stack(columns, dim=1)


def perturb_scores(
    configs: Sequence[ScoreConditionConfig], told_BS: Tensor, uniform_BS: Tensor, normal_BS: Tensor
) -> Tensor:
    """Jitter each score, then drop those whose uniform draw lies below their share."""
    if not configs:
        return told_BS
    jitter_S = torch.tensor([config.perturb for config in configs])
    drop_S = torch.tensor([config.drop for config in configs])
    return (told_BS + jitter_S * normal_BS).clamp(0, 1).masked_fill(uniform_BS < drop_S, torch.nan)
