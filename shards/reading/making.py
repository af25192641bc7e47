"""The batch of one step for one rank: a function of (version, plan, view, epoch, step), wherever it is made."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.data import get_worker_info

from shards.errors import ConfigError
from shards.plans.plan import BatchPlan, GlobalBatch, sample_generator
from shards.plans.position import LoaderState, following, position
from shards.plans.view import BORDER_COLUMNS, ViewConfig
from shards.reading.config import ReadingConfig
from shards.reading.damage import Damage, first_intact
from shards.reading.decode_child import ClipDecoder
from shards.reading.fetching import ReadAhead
from shards.reading.reader import ShardDataset
from shards.reading.watchdog import Board

VIDEO = "mp4"
Arrays = dict[str, np.ndarray]  # by member, of one sample


@dataclass(frozen=True)
class Batch:
    """What a rank trains on in one step (B = samples, T = frames, H, W = pixels, C = RGB).

    Attributes:
        bucket: of all its samples: those of a bucket have one shape. Joint images are a bucket of clips of one frame.
        tensors: of each member that was asked for: `mp4` uint8 (B, T, H, W, C), upright; `latent.npy` and `text.npy`
            (B, …) as they are stored.
        captions: per sample; None only where the plan does not require captions.
        ids: int64 (B,), of the samples in this version.
        keys: their names in the shards.
        scores: float32 (B,) of each column of the view; NaN is null.
        is_pad_B: bool; padding repeats a sample and should not count in a mean (never true with tail: drop).
        epoch: of this batch.
        position: AFTER this batch; what a checkpoint stores.
        damages: samples of the plan that others stand in for (only with on_damage: substitute).
    """

    bucket: str
    tensors: dict[str, torch.Tensor]
    captions: list[str | None]
    ids: torch.Tensor
    keys: list[str]
    scores: dict[str, torch.Tensor]
    is_pad_B: torch.Tensor
    epoch: int
    position: LoaderState
    damages: tuple[Damage, ...] = field(default=())

    @property
    def video_BTHWC(self) -> torch.Tensor:  # noqa: N802  the shape is in the name
        """uint8 RGB, upright.

        Raises:
            ConfigError: clips were not asked for.
        """
        if VIDEO not in self.tensors:
            raise ConfigError(f"batch has {', '.join(self.tensors)}; mp4 was not asked for; name it in members")
        return self.tensors[VIDEO]

    def pin_memory(self) -> "Batch":
        """The same batch in pinned memory, for copies that overlap."""
        return replace(self, tensors={name: tensor.pin_memory() for name, tensor in self.tensors.items()})


class BatchMaker:
    """Makes the batches of one rank, in any process.

    Args:
        dataset: an opened version, read as `reading` says (see `reading_store`).
        plan: of it.
        view: the plan's; None: nothing is decoded.
        reading: damage, trust, storage.
        rank: of the data-parallel ones.
        world: their number.
        members: what is read of each sample: mp4 is decoded, arrays are taken as they are.
        board: where it is written down what is read right now; None: nowhere.

    Raises:
        ConfigError: the world does not divide the global batch, or the samples lack what is asked for.
    """

    def __init__(
        self,
        dataset: ShardDataset,
        plan: BatchPlan,
        view: ViewConfig | None,
        reading: ReadingConfig,
        rank: int,
        world: int,
        members: Sequence[str] = (VIDEO,),
        board: Board | None = None,
    ) -> None:
        plan.check_world(world)
        _check_members(dataset, view, members)
        self.dataset, self.plan, self.view, self.reading = dataset, plan, view, reading
        self.rank, self.world, self.members, self.board = rank, world, tuple(members), board
        self.decoder = ClipDecoder(reading)
        self.ahead = ReadAhead(dataset, reading.parallel_reads)

    def batch(self, epoch: int, step: int, damaged: frozenset[int] = frozenset()) -> Batch:
        """The rank's part of a step.

        Args:
            epoch: from 0.
            step: 0 <= step < plan.steps_per_epoch.
            damaged: ids that are known to be damaged, which spares a look; the batch is the same without them.

        Raises:
            ContractError: data is damaged, and not to be substituted.
            StoreError: storage failed.
        """
        whole = self.plan.batch(epoch, step)
        ids_B, taken, damages = self._taken(whole, epoch, damaged)
        columns = () if self.view is None else self.view.score_columns
        return Batch(
            bucket=whole.bucket,
            tensors={member: _stacked(member, [one[member] for one in taken]) for member in self.members},
            captions=[self._caption(sample_id, epoch) for sample_id in ids_B.tolist()],
            ids=torch.from_numpy(ids_B),
            keys=[self.dataset.key(sample_id) for sample_id in ids_B.tolist()],
            scores={name: torch.from_numpy(self.dataset.scores(name, ids_B)) for name in columns},
            is_pad_B=torch.from_numpy(whole.of_rank(self.rank, self.world).is_pad_B),
            epoch=epoch,
            position=position(self.dataset, self.plan, *following(epoch, step, self.plan.steps_per_epoch)),
            damages=damages,
        )

    def _taken(
        self, whole: GlobalBatch, epoch: int, damaged: frozenset[int]
    ) -> tuple[np.ndarray, list[Arrays], tuple[Damage, ...]]:
        """This rank's part: ids, arrays, and what stands in for what."""
        ids_B, take = whole.ids_B.tolist(), partial(self._take, epoch, whole.bucket)
        places = range(self.rank, len(ids_B), self.world)
        self.ahead.start([ids_B[place] for place in places if ids_B[place] not in damaged], self.members)
        if self.reading.on_damage == "raise":
            return whole.ids_B[places], [take(ids_B[place]) for place in places], ()
        broken = dict.fromkeys(damaged, "")
        taken = [first_intact(ids_B, place, broken, take) for place in places]
        pairs = [(ids_B[place], sample_id) for place, (sample_id, _) in zip(places, taken, strict=True)]
        damages = tuple(self._damage(*pair, broken) for pair in pairs if pair[0] != pair[1])
        return np.array([sample_id for sample_id, _ in taken]), [arrays for _, arrays in taken], damages

    def _take(self, epoch: int, bucket: str, sample_id: int) -> Arrays:
        return {member: self._array(epoch, bucket, sample_id, member) for member in self.members}

    def _array(self, epoch: int, bucket: str, sample_id: int, member: str) -> np.ndarray:
        with self._reading(sample_id, member):
            data = self.ahead.read(sample_id, member)
            if member != VIDEO:
                return self.dataset.parse_array(sample_id, member, data)
            generator = sample_generator(self.plan.config.seed, epoch, sample_id)
            return self.decoder.decode(data, self.dataset.row(sample_id), self.plan.view_of(bucket), generator)

    def _reading(self, sample_id: int, member: str) -> AbstractContextManager[Any]:
        if self.board is None:
            return nullcontext()
        info = get_worker_info()
        return self.board.reading(info.id if info else 0, sample_id, member)

    def _caption(self, sample_id: int, epoch: int) -> str | None:
        return self.plan.caption(epoch, sample_id, self.dataset.texts(sample_id, self.plan.config.captions))

    def _damage(self, sample_id: int, substitute_id: int, broken: dict[int, str]) -> Damage:
        keys = [self.dataset.key(number) for number in (sample_id, substitute_id)]
        return Damage(keys[0], sample_id, broken[sample_id], keys[1], substitute_id)


def _stacked(member: str, arrays: Sequence[np.ndarray]) -> torch.Tensor:
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1:
        raise ConfigError(
            f"samples of a batch have a .{member} of {len(shapes)} shapes ({', '.join(map(str, sorted(shapes)))}); one "
            f"is allowed; set plan.bucket_by to arrays"
        )
    return torch.from_numpy(np.stack(arrays))


def _check_members(dataset: ShardDataset, view: ViewConfig | None, members: Sequence[str]) -> None:
    known = [member for member in dataset.members if member == VIDEO or member.endswith(".npy")]
    if not members or not set(members) <= set(known) or len(set(members)) < len(members):
        raise ConfigError(f"members are {list(members)}; some of {', '.join(known)} are allowed; name what is there")
    if view is None and VIDEO in members:
        raise ConfigError("view is null and members names mp4; decoding needs a view; give one, or name arrays alone")
    missing = [name for name in BORDER_COLUMNS if name not in dataset.rows.column_names]
    if VIDEO in members and view is not None and view.crop == "inner_box" and missing:
        raise ConfigError(
            f"view.crop is inner_box; the dataset has no columns {', '.join(missing)}; curate with borders or set "
            f"view.crop to center"
        )
