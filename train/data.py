"""Where clips come from: published shards, and nothing else. Trainer and tests see one small interface."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from shards.errors import ConfigError
from shards.reading.batch import LoaderState, loader
from shards.reading.mixture import open_mixture
from shards.reading.reader import open_dataset
from shards.schema import strings
from train.config import DataConfig


@dataclass(frozen=True)
class Clips:
    """One rank's share of a global batch.

    Attributes:
        video_BTHWC: uint8 RGB.
        captions: text of each clip, None if it has none.
        ids: sample ids, the key of their random numbers.
        keys: names of the samples, for people.
        epoch: the epoch this batch belongs to.
        position: JSON-like place of the reader after this batch.
        scores: per column of data.view.score_columns its value for each clip, NaN where the index has none.
    """

    video_BTHWC: Tensor
    captions: list[str | None]
    ids: list[int]
    keys: list[str]
    epoch: int
    position: Mapping[str, Any]
    scores: Mapping[str, Tensor] = field(default_factory=dict)


def joint_position(positions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The place of all ranks after the same batch, from that of each: what a checkpoint stores."""
    if "damaged" not in positions[0]:
        return dict(positions[0])
    return LoaderState.merged([LoaderState(**position) for position in positions]).model_dump(mode="json")


class ClipSource(Protocol):
    """What training needs from data."""

    def captions(self) -> Iterable[str]:
        """All captions of the training split."""
        ...

    def batches(self, rank: int, world_size: int, position: Mapping[str, Any] | None) -> Iterator[Clips]:
        """Endless batches from a position, or from the start."""
        ...


class ShardSource:
    """Clips of a published dataset, by streaming."""

    def __init__(self, config: DataConfig) -> None:
        if config.uri is None and not config.mix:
            raise ConfigError("data.uri is null; a published dataset is needed; set data.uri or --set data.uri=DIR")
        self._config = config
        self.dataset = open_mixture(config.mix) if config.uri is None else open_dataset(config.uri, config.version)
        self.plan = self.dataset.plan(config.plan, config.view)

    def captions(self) -> list[str]:
        """Captions of the split that is trained on, of all columns that the plan chooses from."""
        rows = self.dataset.table(None if self._config.plan.split == "all" else self._config.plan.split)
        names = self._config.plan.captions
        return [text for name in names for text in strings(rows.filter(rows.column(name).is_valid()), name)]

    def batches(self, rank: int, world_size: int, position: Mapping[str, Any] | None) -> Iterator[Clips]:
        """Endless batches of one rank, from a position or from the start."""
        state = None if position is None else LoaderState(**position)
        for batch in loader(
            self.dataset,
            self.plan,
            self._config.view,
            rank=rank,
            world=world_size,
            num_workers=self._config.num_workers,
            state=state,
            reading=self._config.reading,
        ):
            yield Clips(
                batch.video_BTHWC,
                batch.captions,
                batch.ids.tolist(),
                batch.keys,
                batch.epoch,
                batch.position.model_dump(mode="json"),
                batch.scores,
            )
