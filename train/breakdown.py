"""The loss of a step split by what its frames are: noise level, place in the clip, condition, source, score.

All splits are one tensor of sums and counts, so that a step costs one more reduction over ranks and no wait for the
device (B = clips, T = latent frames).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from train.metrics import finite

NOWHERE = -1  # bin of a frame that an axis does not count


@dataclass(frozen=True)
class Axis:
    """One way to split the loss.

    Attributes:
        name: e.g. level, source.
        labels: of its bins, for people.
    """

    name: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Breakdown:
    """Sums and counts of losses over the bins of all axes."""

    axes: tuple[Axis, ...]

    @cached_property
    def _begins(self) -> dict[str, int]:
        begins, place = {}, 0
        for axis in self.axes:
            begins[axis.name] = place
            place += len(axis.labels)
        return begins

    def sums(self, losses_BT: Tensor, bins: Mapping[str, Tensor], counted_BT: Tensor | None = None) -> Tensor:
        """Sum and count of the losses per bin.

        Args:
            losses_BT: loss of each frame.
            bins: per axis the number of each frame's bin, or NOWHERE: int64 that broadcasts to (B, T).
            counted_BT: 1 for frames that count, 0 for the others; None: all count.

        Returns:
            float32 of shape (2, bins of all axes).
        """
        num_bins = sum(len(axis.labels) for axis in self.axes)
        totals = torch.zeros(2, num_bins + 1, device=losses_BT.device)  # the last one takes what counts nowhere
        counted_BT = torch.ones_like(losses_BT) if counted_BT is None else counted_BT
        values = torch.stack([(losses_BT * counted_BT).flatten().float(), counted_BT.flatten().float()])
        for name, begin in self._begins.items():
            if name in bins:
                bins_BT = bins[name].to(losses_BT.device).expand_as(losses_BT)
                totals.index_add_(1, torch.where(bins_BT == NOWHERE, num_bins, begin + bins_BT).flatten(), values)
        return totals[:, :-1]

    def means(self, sums: Tensor) -> dict[str, list[float | None]]:
        """Mean loss per axis and bin from `sums`; None for an empty bin, or one whose loss is not finite."""
        totals, counts = sums.tolist()
        means = [finite(total / count) if count else None for total, count in zip(totals, counts, strict=True)]
        return {
            axis.name: means[self._begins[axis.name] : self._begins[axis.name] + len(axis.labels)] for axis in self.axes
        }


def level_axis(num_bins: int) -> Axis:
    """Equal bins of the noise level t in [0, 1]."""
    return Axis("level", tuple(f"t {k / num_bins:.2g}–{(k + 1) / num_bins:.2g}" for k in range(num_bins)))


def level_bins(t_BT: Tensor, num_bins: int) -> Tensor:
    """Bin of each frame's noise level."""
    return (t_BT * num_bins).long().clamp(0, num_bins - 1)


def frame_axis(num_frames: int) -> Axis:
    """One bin per latent frame."""
    return Axis("frame", tuple(f"frame {number}" for number in range(num_frames)))


def decile_edges(values: Sequence[float]) -> list[float]:
    """The nine values between the tenths of the finite ones (nearest rank, so that each is one of them)."""
    ordered = sorted(value for value in values if value == value)  # NaN is null
    return [ordered[len(ordered) * tenth // 10] for tenth in range(1, 10)] if ordered else []
