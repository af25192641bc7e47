"""Keys that a dataset has already: an import that cannot be published says so before it copies anything."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from shards.errors import ConfigError
from shards.format.commit import PLAN_DIGITS
from shards.reading.reader import open_dataset
from shards.storage.store import Store
from shards.versions.manifest import versions


def taken_keys(store: Store, keys: Sequence[str]) -> list[dict[str, Any]]:
    """`key`, `shard` and `mp4_size` (0 without a clip) of those keys that the newest version publishes."""
    if not versions(store):
        return []
    rows = open_dataset(store).rows
    same = rows.filter(pc.is_in(rows.column("key"), value_set=pa.array(keys, pa.string())))
    sizes = same.column("mp4_size").to_pylist() if "mp4_size" in same.column_names else [0] * len(same)
    named = same.select(["key", "shard"]).to_pylist()
    return [row | {"mp4_size": size} for row, size in zip(named, sizes, strict=True)]


def refuse_clashes(
    store: Store, taken: Sequence[Mapping[str, Any]], sizes: Mapping[str, int] | None = None, plan_id: str | None = None
) -> None:
    """Refuse keys that another import or run has published.

    The same import again is no clash: its clips are as large as they were, and its shards have the name of its plan.

    Args:
        store: of the dataset.
        taken: see `taken_keys`.
        sizes: of the clips to import, by key; those of another size are clashes.
        plan_id: of the import, once it is known; shards of other plans are clashes.

    Raises:
        ConfigError: a key is taken.
    """
    clashes = [
        row
        for row in taken
        if (sizes is not None and sizes[row["key"]] != row["mp4_size"])
        or (plan_id is not None and not row["shard"].rpartition("/")[2].startswith(plan_id[:PLAN_DIGITS]))
    ]
    if clashes:
        raise ConfigError(
            f"key {clashes[0]['key']} ({len(clashes)} such) is that of another sample in {clashes[0]['shard']} of "
            f"{store.uri}; a key is published once; rename the clips, or import them into a dataset of their own"
        )
