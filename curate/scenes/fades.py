"""How far a fade reaches: from the blank frames in its middle out to where the picture has its full light again."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from shards.config import Config

_STEEP = 0.25  # a ramp's next step is no smaller share of its height; within a shot light does not jump so


class FadesConfig(Config):
    """How the ramp on either side of blank frames is followed."""

    max_ramp_s: float = Field(default=3.0, gt=0, description="A ramp is followed no farther than this.")
    min_step_levels: float = Field(default=0.6, gt=0, description="Over three frames a ramp changes the mean by this.")
    pure_levels: float = Field(
        default=4.0, ge=0, description="Blank frames without a ramp are a dark shot, unless purer."
    )
    margin_frames: int = Field(
        default=1, ge=0, description="Frames beyond each end of a ramp that are trimmed with it."
    )


@dataclass(frozen=True)
class Gradual:
    """A gradual transition: frames [start, end) belong to no clip.

    Attributes:
        start, end: half-open frame range.
        kind: fade, dissolve or wipe; also the boundary's kind and the segment's name.
        confidence: in [0, 1].
    """

    start: int
    end: int
    kind: str
    confidence: float


def find_fades(
    level_T: np.ndarray, blanks: Iterable[tuple[int, int]], cuts: Iterable[int], rate: float, config: FadesConfig
) -> list[Gradual]:
    """Blank frames with the ramps on both sides, as far as the hard cuts around them; in order, overlaps joined.

    Args:
        level_T: mean level of each frame.
        blanks: half-open ranges of blank frames, in order.
        cuts: first frames of new shots: a ramp goes past one only if the light goes on changing as steeply.
        rate: frames per second, for the longest ramp.
        config: how a ramp is followed.
    """
    reach = max(1, round(config.max_ramp_s * rate))
    forward = sorted(cuts)
    backward = [len(level_T) - cut for cut in reversed(forward)]
    fades: list[Gradual] = []
    for first, last in blanks:
        before = _ramp_frames(level_T[::-1], len(level_T) - first, backward, reach, config)
        after = _ramp_frames(level_T, last, forward, reach, config)
        start, end = first - before, last + after
        level = float(np.median(level_T[first:last]))
        if before or after or min(level, 255 - level) <= config.pure_levels:
            confidence = min(1.0, float(np.ptp(level_T[start:end])) / 128)  # certain from half of the levels on
            fades.append(Gradual(start, end, "fade", confidence))
    return _joined(fades)


def _ramp_frames(level_T: np.ndarray, start: int, cuts: list[int], reach: int, config: FadesConfig) -> int:
    """Frames from `start`, which follows a blank frame, that are still on their way to full light, and the margin.

    The way is followed while the farthest level so far keeps growing; three frames of patience let noise pass. The
    frame after which it no longer grows is a full picture, so a jump from blank to picture has a ramp of no frame.
    """
    stop = min(start + reach, len(level_T), _first_stop(level_T, start, cuts))
    distance_T = np.abs(level_T[start - 1 : stop] - level_T[start - 1])
    index = 0
    while index + 1 < len(distance_T):
        ahead_T = distance_T[index + 1 : index + 4]
        if ahead_T.max() < distance_T[index] + config.min_step_levels:
            break
        index += int(ahead_T.argmax()) + 1
    num_frames = index if index == len(distance_T) - 1 else index - 1
    return min(num_frames + config.margin_frames, stop - start) if num_frames > 0 else 0


def _first_stop(level_T: np.ndarray, start: int, cuts: list[int]) -> int:
    """The first cut from `start` on that is one: a ramp of few frames looks like cuts to a detector of steps."""
    at = int(np.searchsorted(cuts, start))
    for cut in cuts[at : at + 8]:
        if cut + 1 >= len(level_T):
            return cut
        height = abs(level_T[cut] - level_T[start - 1])
        if abs(level_T[cut + 1] - level_T[cut]) < _STEEP * height:
            return cut
    return len(level_T)


def _joined(fades: list[Gradual]) -> list[Gradual]:
    result: list[Gradual] = []
    for item in sorted(fades, key=lambda item: item.start):
        if result and item.start <= result[-1].end:
            last = result.pop()
            item = Gradual(last.start, max(last.end, item.end), item.kind, max(last.confidence, item.confidence))
        result.append(item)
    return result
