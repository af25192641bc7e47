"""Which videos to try a configuration on: strata by codec, picture size and length, and a sample of each. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shards.errors import ConfigError
from shards.ids import digest

MIN_SAMPLE = 2  # videos of a stratum: of one nobody knows how much they differ
_SHORT_SIDES_PX = (360, 540, 900, 1500)
_DURATIONS_S = (10, 60, 600)


@dataclass(frozen=True)
class Header:
    """What a file claims before it is read.

    Attributes:
        uri: of the input.
        size_bytes: of the file.
        codec: FFmpeg's name.
        width, height: in px.
        duration_s: in seconds.
    """

    uri: str
    size_bytes: int
    codec: str
    width: int
    height: int
    duration_s: float

    @property
    def stratum(self) -> str:
        """Codec, class of the picture's shorter side, class of the length."""
        size = int(np.searchsorted(_SHORT_SIDES_PX, min(self.width, self.height)))
        return f"{self.codec}/{size}/{int(np.searchsorted(_DURATIONS_S, self.duration_s))}"


@dataclass(frozen=True)
class Stratum:
    """Videos that look alike, and those of them that are tried.

    Attributes:
        name: of the stratum; `others` for those too small to have a sample of their own.
        members: numbers of its videos.
        sample: those that are tried; at least MIN_SAMPLE, or all.
    """

    name: str
    members: Sequence[int]
    sample: Sequence[int]

    @property
    def rest(self) -> list[int]:
        """Those that are not tried."""
        return sorted({*self.members} - {*self.sample})


def sample_size(text: str, number: int) -> int:
    """`1%` of so many videos, or a number of videos, as a number between MIN_SAMPLE and all.

    Raises:
        ConfigError: it is neither.
    """
    try:
        value = float(text.removesuffix("%"))
    except ValueError:
        value = 0.0
    if not 0 < value <= (100 if text.endswith("%") else float("inf")):
        raise ConfigError(f"--sample is {text!r}; a share such as 1% or a number of videos is allowed; write 1%")
    wanted = -(-value * number // 100) if text.endswith("%") else value
    return min(number, max(MIN_SAMPLE, int(wanted)))


def choose(headers: Sequence[Header], number: int, seed: int) -> list[Stratum]:
    """Strata with a sample of about so many videos in all; the same for the same headers, number and seed.

    Each stratum gives in proportion to its videos, at equal steps along its order by length: so long and short ones are
    both there. Strata that would give fewer than MIN_SAMPLE are joined as `others`.
    """
    groups: dict[str, list[int]] = {}
    for index, header in enumerate(headers):
        groups.setdefault(header.stratum, []).append(index)
    small = [name for name, members in groups.items() if number * len(members) / len(headers) < MIN_SAMPLE]
    others = sorted(index for name in small for index in groups.pop(name))
    if others:
        groups["others"] = others
    return [_stratum(headers, name, groups[name], number, seed) for name in sorted(groups)]


def _stratum(headers: Sequence[Header], name: str, members: Sequence[int], number: int, seed: int) -> Stratum:
    size = min(len(members), max(MIN_SAMPLE, round(number * len(members) / len(headers))))
    order = sorted(members, key=lambda index: (headers[index].duration_s, headers[index].uri))
    start = int(digest([seed, name])[:8], 16) / 2**32  # in [0, 1): where in the first step to begin
    places = ((np.arange(size) + start) * len(order) / size).astype(int)
    return Stratum(name, sorted(members), sorted(order[place] for place in places.tolist()))
