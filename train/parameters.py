"""The parameter policy: which parameters train. A pure function of names."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

from pydantic import Field
from torch import Tensor, nn

from shards.config import Config
from shards.errors import ConfigError


class ParametersConfig(Config):
    """Which parameters train; the rest stay as they are."""

    train: tuple[str, ...] = Field(
        default=("*",), min_length=1, description="Name patterns that train, e.g. `*.time.*` for mixers."
    )
    freeze: tuple[str, ...] = Field(default=(), description="Name patterns taken out again.")


def trained_names(config: ParametersConfig, names: Iterable[str]) -> list[str]:
    """The names that train, in order.

    Raises:
        ConfigError: a pattern fits no name, or nothing is left to train.
    """
    names = list(names)
    for pattern in (*config.train, *config.freeze):
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ConfigError(
                f"parameters pattern is {pattern!r}; it fits none of {len(names)} names; see `train plan`"
            )
    chosen = [name for name in names if _fits(name, config.train) and not _fits(name, config.freeze)]
    if not chosen:
        raise ConfigError(f"parameters.freeze is {config.freeze}; it leaves nothing to train; remove a pattern")
    return chosen


def choose(config: ParametersConfig, model: nn.Module) -> dict[str, Tensor]:
    """Mark the trained parameters of a model, and return them by name."""
    chosen = set(trained_names(config, (name for name, _ in model.named_parameters())))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in chosen)
    return {name: parameter for name, parameter in model.named_parameters() if name in chosen}


def _fits(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
