"""The loss split by what frames are, over the steps of a training, as strips: a row per bin, darker is higher.

C = stretches of steps, N = bins, S = steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MAX_CELLS = 60
MAX_ROWS = 24
_DECADES = 4.0  # shown below the highest mean


@dataclass(frozen=True)
class Strip:
    """One bin over the steps.

    Attributes:
        label: of the bin.
        cells: place from 0 and opacity in [0.05, 1]; stretches without such a frame have none.
        first, last: mean loss of the first and last stretch that has one.
    """

    label: str
    cells: tuple[tuple[int, str], ...]
    first: float
    last: float


@dataclass(frozen=True)
class Split:
    """One axis.

    Attributes:
        name: e.g. level, source.
        num_cells: stretches of steps.
        strips: bins in their order, those that ever had a frame.
        num_left_out: bins beyond the first `MAX_ROWS`.
        low, high: mean losses of the lightest and darkest cell.
    """

    name: str
    num_cells: int
    strips: tuple[Strip, ...]
    num_left_out: int
    low: float
    high: float


def split_of(name: str, labels: Sequence[str], losses: Sequence[Sequence[float | None]]) -> Split | None:
    """Means over equal stretches of steps, shaded by their logarithm; None if no bin has a loss.

    Args:
        name: of the axis.
        labels: of its bins.
        losses: per step the loss of each bin, None where no frame fell; steps of another number of bins are left out.
    """
    means_CN = _means(losses, len(labels))
    seen_N = np.isfinite(means_CN).any(axis=0)
    if not seen_N.any():
        return None
    high = float(np.nanmax(means_CN))
    low = max(float(np.nanmin(means_CN)), high * 10**-_DECADES)
    numbers = np.flatnonzero(seen_N)
    strips = tuple(_strip(labels[int(number)], means_CN[:, number], low, high) for number in numbers[:MAX_ROWS])
    return Split(name, len(means_CN), strips, max(0, len(numbers) - MAX_ROWS), low, high)


def _means(losses: Sequence[Sequence[float | None]], num_bins: int) -> np.ndarray:
    """float64 of shape (C, N), NaN where nothing fell."""
    values_SN = np.full((len(losses), num_bins), np.nan)
    for step, row in enumerate(losses):
        if len(row) == num_bins:
            values_SN[step] = [np.nan if value is None else value for value in row]
    stretches = np.array_split(values_SN, min(len(values_SN), MAX_CELLS)) if len(values_SN) else []
    means_CN = np.full((len(stretches), num_bins), np.nan)
    for cell, stretch_SN in enumerate(stretches):
        counts_N = np.isfinite(stretch_SN).sum(axis=0)
        np.divide(np.nansum(stretch_SN, axis=0), counts_N, out=means_CN[cell], where=counts_N > 0)
    return means_CN


def _strip(label: str, means_C: np.ndarray, low: float, high: float) -> Strip:
    places = np.flatnonzero(np.isfinite(means_C))
    span = np.log(high / low) if low > 0 and high > low else 1.0
    heights = [np.log(max(means_C[place], low) / low) / span if low > 0 else 0.0 for place in places]
    cells = tuple((int(place), f"{0.05 + 0.95 * height:.2f}") for place, height in zip(places, heights, strict=True))
    return Strip(label, cells, float(means_C[places[0]]), float(means_C[places[-1]]))
