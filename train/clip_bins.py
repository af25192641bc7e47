"""By what the data knows of a clip the loss is split: its source, and the tenths of its score columns."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from shards.reading.reader import ShardDataset
from shards.schema import strings
from train.breakdown import NOWHERE, Axis, decile_edges
from train.metrics import MetricsConfig


class ClipBins:
    """The bin of every sample of a dataset, per axis.

    Attributes:
        axes: `source` if sources are asked for, and one per column.
    """

    def __init__(self, config: MetricsConfig, dataset: ShardDataset) -> None:
        found = [_of_scores(name, dataset.scores(name)) for name in config.by_columns]
        if config.by_sources:
            found.append(_of_sources(strings(dataset.rows, "video_id"), config.by_sources))
        self.axes: tuple[Axis, ...] = tuple(axis for axis, _ in found)
        self._bins = {axis.name: bins_N for axis, bins_N in found}

    def of(self, ids: Sequence[int]) -> dict[str, Tensor]:
        """Per axis, the bins of samples: int64 of shape (B, 1), so that every frame of a clip has its clip's."""
        rows = np.asarray(ids)
        return {name: torch.from_numpy(bins_N[rows].astype(np.int64))[:, None] for name, bins_N in self._bins.items()}


def _of_scores(name: str, values_N: np.ndarray) -> tuple[Axis, np.ndarray]:
    edges = decile_edges(values_N.tolist())
    marks = ["", *(f"{edge:.3g}" for edge in edges), ""]
    bins_N = np.searchsorted(edges, values_N, side="right").astype(np.int32)
    bins_N[np.isnan(values_N)] = NOWHERE
    return Axis(name, tuple(f"{low}–{high}" for low, high in pairwise(marks))), bins_N


def _of_sources(sources: Sequence[str], num_named: int) -> tuple[Axis, np.ndarray]:
    counts = Counter(sources)
    named = [source for source, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:num_named]]
    numbers = {source: number for number, source in enumerate(named)}
    bins_N = np.array([numbers.get(source, len(named)) for source in sources], np.int32)
    return Axis("source", (*named, "other")), bins_N
