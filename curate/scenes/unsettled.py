"""Where shots cannot be told before frames are decoded that the coarse pass left out.

Every step that could hold a hard cut is looked at, and every fade, dissolve or wipe, found with looser limits than are
used in the end. Where all frames around them are seen, they are settled, for then nothing is guessed.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from curate.scan import Scan
from curate.scenes.cuts import find_curves
from curate.scenes.segments import ScenesConfig, find_gradual, mean_rate
from curate.scenes.suspects import suspects

_MARGIN_FRAMES = 6  # beyond a gradual transition, whose extent is measured against the frames around it


def unsettled_spans(scan: Scan, config: ScenesConfig) -> list[tuple[int, int]]:
    """Spans of pts, both ends inclusive and frames already seen, in which every frame must be seen.

    Transitions are looked for once no cut is hidden any more: two pictures mixed look like a dissolve.
    """
    num_frames = len(scan.pts_T)
    if len(scan.seen_S) == num_frames:
        return []
    hidden_T = np.ones(num_frames, bool)
    hidden_T[scan.seen_S] = False
    for ranges in (_around_cuts(scan, config), _around_gradual(scan, config)):
        inside = ((max(first, 0), min(last, num_frames - 1)) for first, last in ranges)
        if wanted := [(first, last) for first, last in inside if hidden_T[first : last + 1].any()]:
            spans = _joined(_outward(wanted, scan.seen_S))
            return [(int(scan.pts_T[first]), int(scan.pts_T[last])) for first, last in spans]
    return []


def _around_cuts(scan: Scan, config: ScenesConfig) -> Iterator[tuple[int, int]]:
    """Frames that a cut's detector compares, for each suspect."""
    reach = config.cuts.window_frames
    for index in suspects(scan.features.change_T, scan.seen_S, config.cuts).tolist():
        yield int(scan.seen_S[index - 1]) - reach, int(scan.seen_S[index]) + reach


def _around_gradual(scan: Scan, config: ScenesConfig) -> Iterator[tuple[int, int]]:
    """Transitions and blank stretches with a margin, but for what is deep inside a blank stretch."""
    loose = _loosened(config)
    curves = find_curves(scan, loose.cuts, loose.blanks)
    gradual = find_gradual(curves, mean_rate(scan), loose)
    deep_T = np.zeros(len(scan.pts_T) + 1, np.int8)
    for start, end in curves.blanks:
        deep_T[start + _MARGIN_FRAMES : max(end - _MARGIN_FRAMES, start + _MARGIN_FRAMES)] = 1
    for start, end in [*((item.start, item.end) for item in gradual), *curves.blanks]:
        first, last = max(start - _MARGIN_FRAMES, 0), min(end + _MARGIN_FRAMES, len(scan.pts_T))
        edges = np.flatnonzero(np.diff(np.concatenate([[1], deep_T[first:last], [1]]))).tolist()
        yield from ((first + begin, first + stop - 1) for begin, stop in zip(edges[::2], edges[1::2], strict=True))


def _loosened(config: ScenesConfig) -> ScenesConfig:
    """Limits by which nothing is missed that is found once all frames are seen."""
    blanks, dissolves = config.blanks, config.dissolves
    return config.model_copy(
        update={
            "blanks": blanks.model_copy(
                update={
                    "black_level": blanks.black_level + 1,
                    "white_level": blanks.white_level - 1,
                    "max_spread_levels": blanks.max_spread_levels * 1.2,
                }
            ),
            "dissolves": dissolves.model_copy(
                update={
                    "max_residual": dissolves.max_residual * 1.3,
                    "max_wipe_residual": dissolves.max_wipe_residual * 1.3,
                    "max_likeness": min(dissolves.max_likeness * 1.1, 1.0),
                    "max_contrast": dissolves.max_contrast * 1.1,
                    "min_change_levels": dissolves.min_change_levels * 0.9,
                }
            ),
        }
    )


def _outward(ranges: Iterable[tuple[int, int]], seen_S: np.ndarray) -> Iterator[tuple[int, int]]:
    """Ranges widened to frames that were seen, as far as there are any."""
    for first, last in ranges:
        before = max(int(np.searchsorted(seen_S, first, side="right")) - 1, 0)
        after = int(np.searchsorted(seen_S, last))
        yield min(first, int(seen_S[before])), max(last, int(seen_S[min(after, len(seen_S) - 1)]))


def _joined(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Disjoint ranges in order; those that share a frame or touch are one."""
    result: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if result and first <= result[-1][1] + 1:
            first, last = result[-1][0], max(last, result.pop()[1])
        result.append((first, last))
    return result
