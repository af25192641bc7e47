from copy import deepcopy

import pytest

from shards.config import apply_overrides, parse_config
from tests.train.moving_square import TINY, MovingSquares
from train.config import TrainConfig


@pytest.fixture
def squares() -> MovingSquares:
    return MovingSquares()


@pytest.fixture
def tiny():
    """A config of a tiny run; `tiny("budget.steps=2")` lays overrides over it."""

    def make(*overrides: str) -> TrainConfig:
        return parse_config(TrainConfig, apply_overrides(deepcopy(TINY), overrides))

    return make
