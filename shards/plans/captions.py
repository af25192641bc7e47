"""Which of a sample's captions is shown: one of several columns, chosen anew in every epoch. Pure."""

from collections.abc import Sequence

import numpy as np


def choose_caption(texts: Sequence[str | None], weights: Sequence[float], generator: np.random.Generator) -> str | None:
    """One of the texts, with a chance in proportion to its weight; those that are null have none.

    Args:
        texts: of one sample, one per column.
        weights: > 0, one per column.
        generator: of the sample and epoch; one double is drawn if there is a choice.

    Returns:
        The text; None if all are null.
    """
    there = [(text, weight) for text, weight in zip(texts, weights, strict=True) if text is not None]
    if len(there) < 2:
        return there[0][0] if there else None
    sums = np.cumsum([weight for _, weight in there])
    place = int(np.searchsorted(sums, generator.random() * sums[-1], side="right"))
    return there[min(place, len(there) - 1)][0]
