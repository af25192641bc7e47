"""Dissolves and wipes: two pictures joined over several frames, which frame-to-frame detectors cannot see.

For a frame in the middle of a transition, with pictures A before and B after it, half the transition's length away:

    dissolve   it is the mean of A and B, and paler than both, because what it mixes is unrelated
    wipe       every part of it is A or B, and the parts that are B only ever grow

A moving camera is neither: its middle picture is a third one, as rich as the two. All of it is measured on thumbnails.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from pydantic import Field

from curate.scenes.fades import Gradual
from shards.config import Config

_BLOCK_FRAMES = 4096
_SAME_LEVELS = 12  # a part of the picture in which A and B differ by less tells nothing


class DissolvesConfig(Config):
    """What is a dissolve or a wipe."""

    max_s: float = Field(default=2.0, ge=0, description="Longest transition that is looked for; 0 looks for none.")
    max_residual: float = Field(default=0.06, gt=0, description="Energy of a dissolve's middle that is no mix of A, B.")
    max_wipe_residual: float = Field(
        default=0.1, gt=0, description="Change in a wipe's middle that is neither A nor B."
    )
    max_likeness: float = Field(
        default=0.6, gt=0, lt=1, description="Correlation of A and B: a change of light has more."
    )
    max_contrast: float = Field(default=0.7, gt=0.5, description="Variance of the middle over the mean of A's and B's.")
    min_change_levels: float = Field(default=8.0, gt=0, description="Mean difference of A and B.")
    margin_frames: int = Field(default=1, ge=0, description="Frames beyond each end that are trimmed with it.")


@dataclass(frozen=True)
class _Hit:
    """A frame that looks like the middle of a transition of about twice `half` frames."""

    middle: int
    half: int
    kind: str
    change: float
    residual: float


def find_dissolves(thumb_THW: np.ndarray, cuts: Iterable[int], rate: float, config: DissolvesConfig) -> list[Gradual]:
    """Dissolves and wipes between the hard cuts, disjoint and in order.

    Args:
        thumb_THW: uint8 luma of every frame, a few hundred px.
        cuts: first frames of new shots: no transition holds one.
        rate: frames per second, for the longest transition.
        config: what is a transition.
    """
    shot_T = np.searchsorted(sorted(cuts), np.arange(len(thumb_THW)), side="right")
    hits = [hit for half in _halves(config.max_s * rate / 2) for hit in _hits(thumb_THW, shot_T, half, config)]
    found = [_extent(thumb_THW, _best(group), config) for group in _groups(hits)]
    result: list[Gradual] = []
    for item in sorted(found, key=lambda item: (item.start, item.end)):
        if not result or item.start >= result[-1].end:
            result.append(item)
    return result


def _halves(longest: float) -> list[int]:
    """Half lengths to try, in frames, each a third longer than the one before."""
    halves = [3]
    while halves[-1] * 4 / 3 <= longest + 1:
        halves.append(round(halves[-1] * 4 / 3))
    return halves if longest > 0 else []


def _hits(thumb_THW: np.ndarray, shot_T: np.ndarray, half: int, config: DissolvesConfig) -> Iterator[_Hit]:
    for first in range(half, len(thumb_THW) - half, _BLOCK_FRAMES):
        middles = np.arange(first, min(first + _BLOCK_FRAMES, len(thumb_THW) - half))
        middles = middles[shot_T[middles - half] == shot_T[middles + half]]
        flat_TN = thumb_THW.reshape(len(thumb_THW), -1)
        change = _mean_difference(flat_TN[middles - half], flat_TN[middles + half])
        strong = change >= config.min_change_levels
        middles, change = middles[strong], change[strong]
        before, middle, after = (flat_TN[middles + step].astype(np.float32) for step in (-half, 0, half))
        quarters = [flat_TN[middles + step] for step in (-(half // 2), half // 2)]
        for kind, fits, residual in (
            ("dissolve", *_dissolve_fit(before, middle, after, config)),
            ("wipe", *_wipe_fit(before, middle, after, quarters, config)),
        ):
            for at in np.flatnonzero(fits).tolist():
                yield _Hit(int(middles[at]), half, kind, float(change[at]), float(residual[at]))


def _mean_difference(first_TN: np.ndarray, second_TN: np.ndarray) -> np.ndarray:
    """Mean absolute difference of uint8 pictures, row by row."""
    if not len(first_TN):
        return np.zeros(0)
    return cv2.reduce(cv2.absdiff(first_TN, second_TN), 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S)[:, 0] / first_TN.shape[1]


def _dissolve_fit(
    before: np.ndarray, middle: np.ndarray, after: np.ndarray, config: DissolvesConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Whether each middle is a pale mean of both sides, and the share of energy that is not; pictures are (T, N)."""
    before, middle, after = (item - item.mean(axis=1, keepdims=True) for item in (before, middle, after))
    step = after - before
    energy = (step**2).sum(axis=1) + 1e-6
    share = ((middle - before) * step).sum(axis=1) / energy
    residual = np.full(len(share), np.inf)
    fits = np.abs(share - 0.5) < 0.2  # few are, so the rest is asked of those only
    before, middle, after, step = (item[fits] for item in (before, middle, after, step))
    residual[fits] = ((middle - before - share[fits, None] * step) ** 2).sum(axis=1) / energy[fits]
    powers = [(item**2).sum(axis=1) for item in (before, middle, after)]
    likeness = (before * after).sum(axis=1) / np.sqrt(powers[0] * powers[2] + 1e-6)
    contrast = powers[1] / ((powers[0] + powers[2]) / 2 + 1e-6)
    fits[fits] = (likeness < config.max_likeness) & (contrast < config.max_contrast)
    return fits & (residual < config.max_residual), residual


def _wipe_fit(
    before: np.ndarray, middle: np.ndarray, after: np.ndarray, quarters: Sequence[np.ndarray], config: DissolvesConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Whether each middle is A in some parts and B in the others, between quarters that have fewer and more of B."""
    change = np.abs(after - before)
    residual = np.minimum(np.abs(middle - before), np.abs(middle - after)).sum(axis=1) / (change.sum(axis=1) + 1e-6)
    fits = residual < config.max_wipe_residual  # few are, so the rest is asked of those only
    before, middle, after = (item[fits] for item in (before, middle, after))
    quarters = [item[fits].astype(np.float32) for item in quarters]
    tells = change[fits] > _SAME_LEVELS
    num_parts = tells.sum(axis=1) + 1e-6
    early, now, late = (
        (np.abs(item - after) < np.abs(item - before)) & tells for item in (quarters[0], middle, quarters[1])
    )
    shares = [item.sum(axis=1) / num_parts for item in (early, now, late)]
    undone = ((early & ~now).sum(axis=1) + (now & ~late).sum(axis=1)) / num_parts
    grows = (shares[0] < shares[1] - 0.1) & (shares[2] > shares[1] + 0.1) & (undone < 0.08)
    fits[fits] = (np.abs(shares[1] - 0.5) < 0.2) & grows & (num_parts > tells.shape[1] / 2)
    return fits, residual


def _groups(hits: Iterable[_Hit]) -> Iterator[list[_Hit]]:
    """Hits of one transition: their spans overlap."""
    group: list[_Hit] = []
    for hit in sorted(hits, key=lambda hit: (hit.middle, hit.half)):
        if group and hit.middle - group[-1].middle > max(3, min(hit.half, group[-1].half)):
            yield group
            group = []
        group.append(hit)
    if group:
        yield group


def _best(group: Sequence[_Hit]) -> _Hit:
    """The shortest that sees nearly the whole change: a shorter one begins inside the transition."""
    enough = 0.9 * max(hit.change for hit in group)
    return min((hit for hit in group if hit.change >= enough), key=lambda hit: (hit.half, hit.residual, hit.middle))


def _extent(thumb_THW: np.ndarray, hit: _Hit, config: DissolvesConfig) -> Gradual:
    """From the last frame that is all A to the first that is all B."""
    first, last = hit.middle - hit.half, hit.middle + hit.half
    span_TN = thumb_THW[first : last + 1].reshape(last - first + 1, -1).astype(np.float32)
    off_before, off_after = (np.abs(span_TN - side).sum(axis=1) for side in (span_TN[0], span_TN[-1]))
    share_T = off_before / (off_before + off_after + 1e-6)
    pure_before = np.flatnonzero(share_T[: hit.half] <= 0.06)
    pure_after = np.flatnonzero(share_T[hit.half :] >= 0.94)
    start = first + int(pure_before[-1]) + 1 - config.margin_frames
    end = first + hit.half + int(pure_after[0]) + config.margin_frames
    return Gradual(max(start, 0), min(end, len(thumb_THW)), hit.kind, max(0.0, 1 - hit.residual))
