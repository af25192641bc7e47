"""The parameter policy: names to the factor of the learning rate, or frozen. A pure function of names."""

from collections.abc import Collection, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from shards.config import Config
from shards.errors import ConfigError


class AllParametersConfig(Config):
    """Everything trains."""

    kind: Literal["all"] = "all"
    freeze: tuple[str, ...] = Field(default=(), description="Name patterns that stay as they are, e.g. `text.*`.")


class NewParametersConfig(Config):
    """Only what the weights of `start` did not hold trains: mixers put into a frozen image network."""

    kind: Literal["new"] = "new"
    also: tuple[str, ...] = Field(default=(), description="Name patterns that train besides.")


class ParameterGroupConfig(Config):
    """Parameters with one factor."""

    pattern: str = Field(description="Name pattern, e.g. `*.time.*` for mixers.")
    lr_scale: float = Field(default=1.0, gt=0, description="Factor of the learning rate.")


class PatternsParametersConfig(Config):
    """What fits a pattern trains, at the factor of the first that fits."""

    kind: Literal["patterns"] = "patterns"
    groups: tuple[ParameterGroupConfig, ...] = Field(min_length=1, description="Patterns in order.")
    freeze: tuple[str, ...] = Field(default=(), description="Name patterns taken out again.")


class LoraParametersConfig(Config):
    """Low-rank updates of matrices and kernels train; the weights themselves stay (Hu et al. 2022)."""

    kind: Literal["lora"] = "lora"
    rank: int = Field(default=8, ge=1, description="Rank of an update.")
    alpha: float = Field(default=8.0, gt=0, description="An update is scaled by alpha / rank.")
    targets: tuple[str, ...] = Field(
        default=("trunk.*",), min_length=1, description="Name patterns of modules with a matrix or kernel."
    )
    also: tuple[str, ...] = Field(default=(), description="Name patterns of parameters that train whole.")


ParametersConfig = Annotated[
    AllParametersConfig | NewParametersConfig | PatternsParametersConfig | LoraParametersConfig,
    Field(discriminator="kind"),
]
LORA_PART = ".lora_"


def lr_scales(config: ParametersConfig, names: Iterable[str], new: Collection[str] = ()) -> dict[str, float]:
    """Factor of the learning rate of each name that trains, in order.

    Args:
        config: policy.
        names: all parameters.
        new: those that the starting weights did not hold.

    Raises:
        ConfigError: a pattern fits no name, or nothing is left to train.
    """
    names = list(names)
    _check_patterns(config, names)
    if isinstance(config, AllParametersConfig):
        chosen = {name: 1.0 for name in names if not fits(name, config.freeze)}
    elif isinstance(config, NewParametersConfig):
        chosen = {name: 1.0 for name in names if name in new or fits(name, config.also)}
    elif isinstance(config, LoraParametersConfig):
        chosen = {name: 1.0 for name in names if LORA_PART in name or fits(name, config.also)}
    else:
        found = {name: next((g.lr_scale for g in config.groups if fits(name, [g.pattern])), None) for name in names}
        chosen = {name: scale for name, scale in found.items() if scale and not fits(name, config.freeze)}
    if not chosen:
        raise ConfigError(f"parameters is {config.kind}; it leaves nothing of {len(names)} to train; change it")
    return chosen


def trained_names(config: ParametersConfig, names: Iterable[str], new: Collection[str] = ()) -> list[str]:
    """The names that train, in order; see `lr_scales`."""
    return list(lr_scales(config, names, new))


def choose(config: ParametersConfig, model: nn.Module, new: Collection[str] = ()) -> dict[str, float]:
    """Mark the trained parameters of a model; returns the factor of the learning rate by name."""
    chosen = lr_scales(config, (name for name, _ in model.named_parameters()), new)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in chosen)
    return chosen


def fits(name: str, patterns: Iterable[str]) -> bool:
    """Whether a name fits one of the patterns."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _check_patterns(config: ParametersConfig, names: Sequence[str]) -> None:
    if isinstance(config, AllParametersConfig):
        patterns = config.freeze
    elif isinstance(config, PatternsParametersConfig):
        patterns = (*(group.pattern for group in config.groups), *config.freeze)
    else:
        patterns = config.also
    for pattern in patterns:
        if not any(fits(name, [pattern]) for name in names):
            raise ConfigError(
                f"parameters pattern is {pattern!r}; it fits none of {len(names)} names; see `train plan`"
            )
