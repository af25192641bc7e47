"""Which steps between frames that were seen may hide a hard cut in the frames between them that were not."""

import numpy as np

from curate.scenes.limits import CutsConfig

_HIDDEN_GAIN = 1.2  # a cut changes at most so many times more than the step that hides it
_INNER_SHARE = 0.5  # frames beside a hidden cut change at least by this share of what the frames around the step do
_MAX_UNEVEN = 2.0  # a frame changes at most so many times more than its share of a step over several


def suspects(change_S: np.ndarray, seen_S: np.ndarray, config: CutsConfig) -> np.ndarray:
    """Indices k of seen frames: whether a cut lies between the one before and k depends on frames not seen.

    The rule is the detector's own, with the most that a hidden cut can change against the least that the frames around
    it do. A step over g frames changes each of them by a g-th in the mean, and a cut that changes more than its step
    has frames beside it that change back, both by the triangle inequality. A step between neighbours that is a cut
    against the most that the others do is one for certain, and no suspect.

    Args:
        change_S: change of each seen frame against the one seen before it.
        seen_S: index of each among all frames, increasing.
        config: the detector's limits.
    """
    if len(seen_S) < 2:
        return np.zeros(0, np.int64)
    gap_S = np.diff(seen_S)
    step_S = change_S[1:] * np.where(gap_S > 1, _HIDDEN_GAIN, 1.0)
    strong = np.flatnonzero(step_S >= config.min_content_levels)
    pad = config.window_frames
    each_T = np.concatenate([np.zeros(pad), np.repeat(change_S[1:] / gap_S, gap_S), np.zeros(pad)])
    found = []
    for index in strong.tolist():
        first, last = (int(seen_S[at] - seen_S[0]) for at in (index, index + 1))  # frames (first, last]
        window_T = each_T[first : last + 2 * pad].copy()  # from `pad` frames before the step to `pad` after it
        inner = slice(pad, pad + last - first)
        outer = (window_T.sum() - window_T[inner].sum()) / (2 * pad)
        window_T[inner] = _INNER_SHARE * outer if last - first > 1 else 0
        sums = [window_T[at - pad : at + pad + 1].sum() - window_T[at] for at in range(pad, pad + last - first)]
        ratio = config.adaptive_ratio / (2 * pad)
        is_certain = gap_S[index] == 1 and step_S[index] >= _MAX_UNEVEN * ratio * sums[0]
        if not is_certain and step_S[index] >= ratio * (min(sums) + step_S[index] - change_S[index + 1]):
            found.append(index + 1)
    return np.array(found, np.int64)
