"""Are a version's tars there, whole, and alone? Asked once before reading, of names and sizes; no byte is read.

A tar that is cut behind its last sample, or gone, is found here before the first batch and not when its turn comes.
"""

import logging
from collections.abc import Iterator

from shards.errors import ContractError
from shards.reading.config import ReadingConfig
from shards.reading.mixture import MixedDataset
from shards.reading.reader import ShardDataset
from shards.storage.store import Store, is_leftover
from shards.versions.collect import KINDS
from shards.versions.manifest import Manifest

log = logging.getLogger(__name__)

_FOLDER = "shards"


def check_presence(dataset: ShardDataset, reading: ReadingConfig) -> None:
    """Hold what lies in the folder of tars against the manifest.

    Files that are none of a dataset are named in the log: nobody opens them. With `on_damage: substitute` so are tars
    that are gone or have another size: their samples are looked at when their turn comes.

    Raises:
        ContractError: a tar is gone or has another size.
        StoreError: storage failed.
    """
    parts = dataset.parts if isinstance(dataset, MixedDataset) else (dataset,)
    for part in parts:
        sizes = {item.path: item.size_bytes for item in part.store.list(_FOLDER)}
        problems = list(_problems(part.store, part.manifest, sizes))
        if problems and reading.on_damage == "raise":
            raise ContractError(f"{problems[0]}; {len(problems)} of {len(part.manifest.shards)} shards are damaged")
        for problem in problems:
            log.warning("%s", problem)
        foreign = [path for path in sorted(sizes) if not (KINDS["shard"].fullmatch(path) or is_leftover(path))]
        if foreign:
            log.warning(
                "%d files in %s are no shards and nobody reads them, %s for one; see shards verify",
                *(len(foreign), part.store.uri, ascii(foreign[0])),
            )


def _problems(store: Store, manifest: Manifest, sizes: dict[str, int]) -> Iterator[str]:
    for commit in manifest.shards:
        found, wanted = sizes.get(commit.shard.path), commit.shard.size_bytes
        if found is None:
            yield f"{commit.shard.path} is missing in {store.uri}; the manifest names it; restore or republish"
        elif found != wanted:
            yield (
                f"{commit.shard.path} in {store.uri} has {found} bytes, {wanted} are in the manifest; the file is "
                f"damaged; restore it; see shards verify"
            )
