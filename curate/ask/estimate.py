"""From a sample's numbers to totals with intervals: ratio estimates and a bootstrap, both by stratum. Pure.

Source: ratio estimator (Cochran, Sampling Techniques, 6.2) within strata, whose error is bootstrapped (Efron 1979); the
spread of the untried videos themselves is added, so the interval is one for their real total and not for its mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from curate.ask.sampling import Stratum

REPLICATES = 2000


@dataclass(frozen=True)
class Totals:
    """Sums over the videos that were not tried (M = measures, B = replicates).

    Attributes:
        point_M: estimates.
        draw_MB: what the sums might be.
    """

    point_M: np.ndarray
    draw_MB: np.ndarray


def rest_totals(values_MN: np.ndarray, sizes_MN: np.ndarray, strata: Sequence[Stratum], seed: int) -> Totals:
    """Estimate the sum of each measure over the videos that were not tried.

    A replicate resamples the tried videos of each stratum with replacement; all measures share its choice, so that
    shares of sums are right. Within a stratum a measure is taken to grow with a size that is known of every video.

    Args:
        values_MN: measured, shape (measures, videos); only the columns of tried videos are read.
        sizes_MN: what each measure grows with, of every video, >= 0.
        strata: with samples.
        seed: of the bootstrap.
    """
    rng = np.random.default_rng(seed)
    num_measures = len(values_MN)
    point_M, draw_MB = np.zeros(num_measures), np.zeros((num_measures, REPLICATES))
    for stratum in strata:
        sample, rest = np.array(stratum.sample), np.array(stratum.rest, int)
        if not len(rest):
            continue
        y_MS, x_MS = values_MN[:, sample], sizes_MN[:, sample]
        rest_x_M, rest_xx_M = sizes_MN[:, rest].sum(axis=1), (sizes_MN[:, rest] ** 2).sum(axis=1)
        own_M = _ratio(y_MS.sum(axis=1), x_MS.sum(axis=1))
        point_M += own_M * rest_x_M
        often_SB = rng.multinomial(len(sample), np.full(len(sample), 1 / len(sample)), REPLICATES).T
        ratio_MB = _ratio(y_MS @ often_SB, x_MS @ often_SB)
        noise_B = rng.standard_normal(REPLICATES)
        deviation_MB = (ratio_MB - own_M[:, None]) * rest_x_M[:, None]
        deviation_MB = deviation_MB + np.sqrt(_spread(y_MS, x_MS, own_M) * rest_xx_M)[:, None] * noise_B
        # A small sample shows less spread than there is: scaled as Student's t is to a normal.
        free = max(1, len(sample) - 1)
        widen_B = np.sqrt(len(sample) / rng.chisquare(free, REPLICATES))
        draw_MB += own_M[:, None] * rest_x_M[:, None] + deviation_MB * widen_B
    return Totals(point_M, np.maximum(draw_MB, 0.0))


def interval(draw_B: np.ndarray, percent: float) -> tuple[float, float]:
    """The middle part of what a sum might be."""
    low, high = np.quantile(draw_B, [0.5 - percent / 200, 0.5 + percent / 200])
    return float(low), float(high)


def _ratio(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Quotient of two sums; 0 where nothing has a size."""
    return np.divide(y, x, out=np.zeros(x.shape), where=x > 0)


def _spread(y_MS: np.ndarray, x_MS: np.ndarray, own_M: np.ndarray) -> np.ndarray:
    """Variance of a video's own ratio around the stratum's, weighted by size."""
    total_M = x_MS.sum(axis=1)
    residual_MS = _ratio(y_MS - own_M[:, None] * x_MS, x_MS)
    return _ratio((x_MS * residual_MS**2).sum(axis=1), total_M)
