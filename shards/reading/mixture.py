"""Several datasets read as one: ids go on from dataset to dataset, and a plan gives each its share of what is shown."""

from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from shards.config import Config
from shards.errors import ConfigError
from shards.ids import digest
from shards.plans.plan import BatchPlan, PlanConfig, plan_batches
from shards.plans.view import ViewConfig
from shards.reading.reader import ShardDataset, open_dataset
from shards.storage.store import Store


class PartConfig(Config):
    """A dataset of a mixture."""

    uri: str = Field(description="Published dataset.")
    version: int | None = Field(default=None, ge=1, description="Version of the dataset; null is the newest.")
    weight: float | None = Field(
        default=None,
        gt=0,
        description="Share of what an epoch shows, relative to the other datasets; null, for all of them: every sample "
        "once.",
    )


def open_mixture(parts: Sequence[PartConfig]) -> "MixedDataset":
    """Published versions as one dataset.

    Raises:
        ConfigError: there is no part, some have a weight and others none, columns have different types, or a version
            is not published.
        ContractError: a manifest or plan index is not what was published.
    """
    weights = [part.weight for part in parts if part.weight is not None]
    if len(weights) not in (0, len(parts)) or not parts:
        raise ConfigError(
            f"mix has {len(parts)} datasets, {len(weights)} of them with a weight; at least one dataset, and a weight "
            f"for all or none is allowed; set or remove weights"
        )
    return MixedDataset([open_dataset(part.uri, part.version) for part in parts], weights or None)


class MixedDataset(ShardDataset):
    """The samples of several versions, by ids of their own: those of a part follow those of the part before.

    Attributes:
        parts: the versions, in order.
        shares: of each in what an epoch shows; None: as many as it has.
        manifest_sha256: over the checksums of all manifests, in order: pins every one.
        rows: of all plan indexes; a column that a part lacks is null there.
    """

    def __init__(self, parts: Sequence[ShardDataset], shares: Sequence[float] | None = None) -> None:
        self.parts, self.shares = tuple(parts), None if shares is None else tuple(shares)
        self.first_ids = [0, *accumulate(len(part) for part in parts)]
        self.manifest_sha256 = digest([part.manifest_sha256 for part in parts])
        self.rows = _joined([part.rows for part in parts])

    def __reduce__(self) -> tuple[Any, ...]:
        return MixedDataset, (self.parts, self.shares)

    def part_of(self, sample_id: int) -> tuple[ShardDataset, int]:
        """The part that holds a sample, and the sample's id in it."""
        place = int(np.searchsorted(self.first_ids, sample_id, side="right")) - 1
        return self.parts[place], sample_id - self.first_ids[place]

    @property
    def is_local(self) -> bool:
        """See ShardDataset."""
        return all(part.is_local for part in self.parts)

    def through(self, wrap: Callable[[Store], Store]) -> "MixedDataset":
        """See ShardDataset."""
        return MixedDataset([part.through(wrap) for part in self.parts], self.shares)

    def read_member(self, sample_id: int, suffix: str) -> bytes:
        """See ShardDataset."""
        part, own_id = self.part_of(sample_id)
        return part.read_member(own_id, suffix)

    def place(self, sample_id: int, suffix: str) -> str:
        """See ShardDataset."""
        part, own_id = self.part_of(sample_id)
        return f"{part.place(own_id, suffix)} in {part.store.uri}"

    def plan(self, config: PlanConfig, view: ViewConfig | None = None) -> BatchPlan:
        """See ShardDataset; every part shows its share."""
        self.check_scores(view)
        tables = [self.rows.slice(first, end - first) for first, end in pairwise(self.first_ids)]
        return plan_batches(tables, config, view, self.shares)


def _joined(tables: Sequence[pa.Table]) -> pa.Table:
    try:
        rows = pa.concat_tables([table.drop_columns("id") for table in tables], promote_options="default")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ConfigError(f"mix has datasets whose columns differ; {error}; publish them with the same types") from None
    ids: Any = pa.array(np.arange(len(rows)))
    return rows.add_column(0, pa.field("id", pa.int64()), ids)
