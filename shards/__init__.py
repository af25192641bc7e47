"""The contract between curation and training: every column, id, byte layout and time base that crosses a border.

    schema, ids, errors, config, expressions    what everybody shares
    storage/    where objects lie               format/     one shard
    versions/   what is published               plans/      the order of reading
    reading/    bytes, frames, batches          importing/  datasets of others
    isolation/  a child that touches strangers' bytes

Heavy parts (torch, webdataset, pyarrow) are imported by the functions that need them, never by this package.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shards.reading.reader import ShardDataset
    from shards.storage.objects import Store


def open(uri: "str | Path | Store", version: int | None = None) -> "ShardDataset":
    """A published version of a dataset, the newest by default; see `shards.reading.reader.open_dataset`."""
    from shards.reading.reader import open_dataset

    return open_dataset(uri, version)
