"""A number over the steps of a training, ready to be drawn: few points, a smoothed line, an axis from zero."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MAX_CURVE_POINTS = 240
LOSS_SMOOTHING = 0.8


@dataclass(frozen=True)
class Curve:
    """A number over steps for a template.

    Attributes:
        points: "x,y x,y …" in percent, means of equal stretches of steps; y grows downwards.
        smooth: the same, smoothed.
        low, high: the value at the lower and upper edge.
        first_step, last_step: ends of the axis.
        last_value: smoothed value at the end.
    """

    points: str
    smooth: str
    low: float
    high: float
    first_step: int
    last_step: int
    last_value: float


def curve(pairs: Sequence[Sequence[float]], smoothing: float = LOSS_SMOOTHING) -> Curve | None:
    """Points over an axis from 0 to the highest smoothed value; None for fewer than two finite values.

    Args:
        pairs: step and value.
        smoothing: weight of what was before, in [0, 1); 0 leaves the means as they are.
    """
    table = np.array([pair for pair in pairs if np.isfinite(pair).all()], dtype=np.float64).reshape(-1, 2)
    if len(table) < 2:
        return None
    means = np.array([stretch.mean(axis=0) for stretch in np.array_split(table, min(len(table), MAX_CURVE_POINTS))])
    step, value = means.T
    smooth = _smoothed(value, smoothing)
    low, high = min(0.0, float(smooth.min())), max(float(smooth.max()), 1e-12)
    x = 100 * (step - step[0]) / max(step[-1] - step[0], 1e-12)
    raw, soft = (_points(x, (values - low) / (high - low)) for values in (value, smooth))
    return Curve(raw, soft, low, high, int(table[0, 0]), int(table[-1, 0]), float(smooth[-1]))


def _smoothed(values: np.ndarray, weight: float) -> np.ndarray:
    """Exponential mean, corrected for its start (Adam, equation for the bias-corrected moment)."""
    mean, smooth = 0.0, []
    for index, value in enumerate(values, start=1):
        mean = weight * mean + (1 - weight) * value
        smooth.append(mean / (1 - weight**index))
    return np.array(smooth)


def _points(x: np.ndarray, height: np.ndarray) -> str:
    y = 100 * (1 - np.clip(height, 0, 1))
    return " ".join(f"{a:.2f},{b:.2f}" for a, b in zip(x, y, strict=True))
