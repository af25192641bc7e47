"""Sites: the named places of a trunk at which mixers, adapters, sharding and recomputation take hold."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

SiteKind = Literal["block", "attention", "down", "up"]


@dataclass(frozen=True)
class Conditioning:
    """What every site may use.

    Attributes:
        film_ND: modulation of each frame.
        words_BLD: word vectors for cross-attention; None if text does not enter that way.
        num_frames: T, with N = B * T.
    """

    film_ND: Tensor
    words_BLD: Tensor | None
    num_frames: int


@dataclass(frozen=True)
class SiteName:
    """One place of a trunk.

    Attributes:
        name: of the module, below the trunk.
        kind: what happens to space there.
        level: 0 is the finest.
        channels: that leave it.
    """

    name: str
    kind: SiteKind
    level: int
    channels: int


class Site(nn.Module):
    """A unit of a trunk that is sharded, recomputed or compiled as one: space, then time, then attention."""

    level: int
    channels: int
    kinds: tuple[tuple[str, SiteKind], ...]

    def forward(self, x_NCHW: Tensor, given: Conditioning) -> Tensor:
        """Apply the site."""
        raise NotImplementedError


def site_names(trunk: nn.Module) -> Iterator[SiteName]:
    """All places of a trunk, in the order of its modules."""
    for name, module in trunk.named_modules():
        if isinstance(module, Site):
            for part, kind in module.kinds:
                yield SiteName(f"{name}.{part}" if part else name, kind, module.level, module.channels)


def words_of_frames(given: Conditioning) -> Tensor | None:
    """Word vectors for each frame, shape (N, L, D)."""
    if given.words_BLD is None:
        return None
    return torch.repeat_interleave(given.words_BLD, given.num_frames, dim=0)
