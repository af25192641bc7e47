"""Window policies: a long latent as calls of a network that makes a short one. Pure: numbers in, a plan out.

A call names the latent frames it covers and which of them are given; what is not given is written, once and for all.

    single           one call
    autoregressive   clip after clip, each given the last `overlap` frames of the one before
    hierarchical     key frames far apart, autoregressive; then the gaps, ends given, level by level (He et al. 2022,
                     LVDM, section 3.4): frames in between of all gaps of a level are independent of each other
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from shards.config import Config
from shards.errors import ConfigError


class SingleWindowConfig(Config):
    """The whole clip at once."""

    kind: Literal["single"] = "single"


class AutoregressiveWindowConfig(Config):
    """One clip after the other."""

    kind: Literal["autoregressive"] = "autoregressive"
    overlap: int = Field(default=1, ge=1, description="Latent frames given from the clip before.")


class HierarchicalWindowConfig(Config):
    """Key frames first, then what lies between."""

    kind: Literal["hierarchical"] = "hierarchical"
    overlap: int = Field(default=1, ge=1, description="Key frames given from the clip of key frames before.")
    num_levels: int = Field(
        default=1, ge=1, description="Times that gaps are filled; each divides them by the filler's length less one."
    )


WindowsConfig = Annotated[
    SingleWindowConfig | AutoregressiveWindowConfig | HierarchicalWindowConfig, Field(discriminator="kind")
]


@dataclass(frozen=True)
class Call:
    """One call of the network.

    Attributes:
        stage: 0 for clips or key frames, k for the k-th filling of gaps: which network is asked.
        stride: distance of neighbouring frames in the long latent.
        indices: frames of the long latent that the call covers, increasing.
        given: which of them exist already.
    """

    stage: int
    stride: int
    indices: tuple[int, ...]
    given: tuple[bool, ...]

    @property
    def written(self) -> tuple[int, ...]:
        """Frames that the call makes."""
        return tuple(index for index, given in zip(self.indices, self.given, strict=True) if not given)


@dataclass(frozen=True)
class WindowPlan:
    """Calls in order, in rounds whose calls do not depend on each other; covers `length` frames, some to be cut off."""

    length: int
    rounds: tuple[tuple[Call, ...], ...]

    @property
    def calls(self) -> tuple[Call, ...]:
        """All calls in order."""
        return tuple(call for calls in self.rounds for call in calls)


def plan_windows(config: WindowsConfig, length: int, window: int, gap_window: int | None = None) -> WindowPlan:
    """The calls that make at least `length` latent frames with a network that makes `window`.

    Args:
        config: policy.
        length: latent frames wanted.
        window: latent frames of one call.
        gap_window: hierarchical: latent frames of one call that fills a gap, its two ends included; default: window.

    Raises:
        ConfigError: the policy cannot make so many.
    """
    if isinstance(config, SingleWindowConfig):
        if length > window:
            raise ConfigError(
                f"windows is single and {length} latent frames are wanted; at most {window} are made by one call; set "
                "windows.kind to autoregressive or hierarchical"
            )
        return WindowPlan(window, ((_call(0, 1, 0, window, 0),),))
    if config.overlap >= window:
        raise ConfigError(f"windows.overlap is {config.overlap}; less than {window} latent frames is allowed; lower it")
    if isinstance(config, AutoregressiveWindowConfig):
        rounds = _one_after_the_other(length, window, config.overlap, 1)
        return WindowPlan(rounds[-1][0].indices[-1] + 1, rounds)
    gap_window = gap_window or window
    if gap_window < 3:
        raise ConfigError(
            f"windows is hierarchical with calls of {gap_window} latent frames; 3 are needed; lengthen them"
        )
    stride = (gap_window - 1) ** config.num_levels
    num_keys = -(-(length - 1) // stride) + 1  # the last key frame stands at or behind the end
    rounds = _one_after_the_other(num_keys, window, config.overlap, stride)
    last = rounds[-1][0].indices[-1]
    fillings = []
    for level in range(config.num_levels):
        stride //= gap_window - 1
        starts = range(0, last, stride * (gap_window - 1))
        ends = (True, *(False,) * (gap_window - 2), True)
        fillings.append(
            tuple(
                Call(level + 1, stride, tuple(start + stride * k for k in range(gap_window)), ends) for start in starts
            )
        )
    return WindowPlan(last + 1, (*rounds, *fillings))


def begin_with(plan: WindowPlan, num_given: int) -> WindowPlan:
    """The plan of a video whose first latent frames exist already.

    Raises:
        ConfigError: the first call would have nothing to make, or covers other frames than the first.
    """
    first = plan.calls[0]
    given = tuple(index < num_given for index in first.indices)
    if all(given) or sum(given) < num_given:
        raise ConfigError(
            f"a video begins with {num_given} given latent frames; the first call covers {len(first.indices)} at a "
            f"distance of {first.stride}; give fewer"
        )
    return replace(plan, rounds=((replace(first, given=given),), *plan.rounds[1:]))


def merge(long_BTCHW: Tensor, calls: Sequence[Call], made: Sequence[Tensor]) -> Tensor:
    """Write what calls made into the long latent; given frames stay as they are."""
    result_BTCHW = long_BTCHW.clone()
    for call, made_BTCHW in zip(calls, made, strict=True):
        free = torch.tensor([not given for given in call.given], device=made_BTCHW.device)
        result_BTCHW[:, list(call.written)] = made_BTCHW[:, free]
    return result_BTCHW


def _one_after_the_other(length: int, window: int, overlap: int, stride: int) -> tuple[tuple[Call, ...], ...]:
    count = 1 + max(0, -(-(length - window) // (window - overlap)))
    return tuple(
        (_call(0, stride, number * (window - overlap), window, overlap if number else 0),) for number in range(count)
    )


def _call(stage: int, stride: int, first: int, window: int, num_given: int) -> Call:
    indices = tuple(stride * (first + k) for k in range(window))
    return Call(stage, stride, indices, tuple(k < num_given for k in range(window)))
