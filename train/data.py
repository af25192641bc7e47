"""Where clips come from: published shards, and nothing else. Trainer and tests see one small interface."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from shards.errors import ConfigError
from shards.reading.batch import LoaderState, loader
from shards.reading.mixture import open_mixture
from shards.reading.reader import open_dataset
from shards.schema import strings
from train.breakdown import Axis
from train.clip_bins import ClipBins
from train.config import DataConfig
from train.embedded import check_embedded
from train.metrics import MetricsConfig
from train.models.codec import Codec, encode_video

MEMBERS = {"video": "mp4", "latents": "latent.npy"}


@dataclass(frozen=True)
class Clips:
    """One rank's share of a global batch: videos, or latents in their place.

    Attributes:
        video_BTHWC: uint8 RGB; None if latents are read. One frame is a still.
        captions: text of each clip, None if it has none.
        ids: sample ids, the key of their random numbers.
        keys: names of the samples, for people.
        epoch: the epoch this batch belongs to.
        position: JSON-like place of the reader after this batch.
        scores: per column of data.view.score_columns its value for each clip, NaN where the index has none.
        bins: per axis of the source, the bin of each clip, int64 (B, 1).
        latents_BTCHW: of the codec, float32; None if videos are read.
    """

    video_BTHWC: Tensor | None
    captions: list[str | None]
    ids: list[int]
    keys: list[str]
    epoch: int
    position: Mapping[str, Any]
    scores: Mapping[str, Tensor] = field(default_factory=dict)
    bins: Mapping[str, Tensor] = field(default_factory=dict)
    latents_BTCHW: Tensor | None = None

    @property
    def video(self) -> Tensor:
        """uint8 RGB of shape (B, T, H, W, C).

        Raises:
            ConfigError: latents are read.
        """
        if self.video_BTHWC is None:
            raise ConfigError("data.read is latents; this needs pixels; set data.read to video")
        return self.video_BTHWC

    def encoded(self, codec: Codec, device: torch.device) -> Tensor:
        """Codec latents z_BTCHW on a device: those that were read, or made of the video."""
        if self.latents_BTCHW is not None:
            return self.latents_BTCHW.to(device)
        return encode_video(codec, self.video.to(device))


def joint_position(positions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The place of all ranks after the same batch, from that of each: what a checkpoint stores."""
    if "damaged" not in positions[0]:
        return dict(positions[0])
    return LoaderState.merged([LoaderState(**position) for position in positions]).model_dump(mode="json")


class ClipSource(Protocol):
    """What training needs from data; who brings clips of their own inherits it and gives what is abstract."""

    @abstractmethod
    def captions(self) -> Iterable[str]:
        """All captions of the training split."""
        ...

    def axes(self) -> Sequence[Axis]:
        """What the loss is split by that only the data knows; nothing, unless said otherwise."""
        return ()

    def check_codec(self, sha256: str) -> None:
        """Refuse latents of another codec than this one (see `codec_sha256`); videos fit all."""

    @abstractmethod
    def batches(self, rank: int, world_size: int, position: Mapping[str, Any] | None) -> Iterator[Clips]:
        """Endless batches from a position, or from the start."""
        ...


class ShardSource(ClipSource):
    """Clips of a published dataset, by streaming."""

    def __init__(self, config: DataConfig, metrics: MetricsConfig | None = None) -> None:
        if config.uri is None and not config.mix:
            raise ConfigError("data.uri is null; a published dataset is needed; set data.uri or --set data.uri=DIR")
        self._config = config
        self.dataset = open_mixture(config.mix) if config.uri is None else open_dataset(config.uri, config.version)
        self.plan = self.dataset.plan(config.plan, config.view)
        if config.read == "latents":
            check_embedded(self.dataset, config.view)
        self._bins = ClipBins(metrics or MetricsConfig(), self.dataset)

    def axes(self) -> Sequence[Axis]:
        """Source and score columns, as metrics asks."""
        return self._bins.axes

    def check_codec(self, sha256: str) -> None:
        """Refuse latents of another codec; videos fit all."""
        if self._config.read == "latents":
            check_embedded(self.dataset, self._config.view, sha256)

    def captions(self) -> list[str]:
        """Captions of the split that is trained on, of all columns that the plan chooses from."""
        rows = self.dataset.table(None if self._config.plan.split == "all" else self._config.plan.split)
        names = self._config.plan.captions
        return [text for name in names for text in strings(rows.filter(rows.column(name).is_valid()), name)]

    def batches(self, rank: int, world_size: int, position: Mapping[str, Any] | None) -> Iterator[Clips]:
        """Endless batches of one rank, from a position or from the start."""
        state = None if position is None else LoaderState(**position)
        member = MEMBERS[self._config.read]
        for batch in loader(
            self.dataset,
            self.plan,
            self._config.view,
            members=[member],
            rank=rank,
            world=world_size,
            num_workers=self._config.num_workers,
            state=state,
            reading=self._config.reading,
        ):
            is_video = self._config.read == "video"
            yield Clips(
                batch.tensors[member] if is_video else None,
                batch.captions,
                batch.ids.tolist(),
                batch.keys,
                batch.epoch,
                batch.position.model_dump(mode="json"),
                batch.scores,
                self._bins.of(batch.ids.tolist()),
                None if is_video else batch.tensors[member],
            )
