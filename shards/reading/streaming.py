"""Sequential streaming on the `webdataset` library's own pipeline, for who wants exactly that: shards from end to end.

Reading is sequential, which some storage likes; that is all it has over `batch.loader`. It does not promise:

- exact resume: there is no position, an epoch begins at its begin;
- a good shuffle: shards are permuted, samples only within a buffer;
- equal steps: ranks and workers get whole shards, so the numbers of their samples differ (a collective then waits for
  ever) and a rank or worker without a shard gets none; another world or number of workers is another order;
- complete epochs: webdataset takes a tar that is cut at a sample's edge, or whose header is damaged, for a shorter one.
  Members are not held against the index. `reelmill shards verify` finds both.

Nothing is unpickled and no shell is run: WDS_SECURE is set, the library's decoders and url openers are not used.
"""

import importlib
import io
import os
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
from torch.utils.data import DataLoader

from shards.plans.plan import philox, sample_generator
from shards.plans.view import ViewConfig, fits
from shards.reading.batch import start_worker, worker_context
from shards.reading.config import ReadingConfig
from shards.reading.decode_child import ClipDecoder
from shards.reading.fetching import reading_store
from shards.reading.reader import ShardDataset
from shards.schema import strings
from shards.storage.cache import CachedStore
from shards.storage.store import LocalFolder, Store


def stream(
    dataset: ShardDataset,
    view: ViewConfig,
    *,
    split: str | None = "train",
    epoch: int = 0,
    seed: int = 0,
    rank: int = 0,
    world: int = 1,
    num_workers: int = 0,
    buffer: int = 1000,
    reading: ReadingConfig | None = None,
) -> Iterable[dict[str, Any]]:
    """The samples of one rank in one epoch, one by one.

    Args:
        dataset: an opened version, not a mixture.
        view: which frames, which size; clips that it does not fit are left out.
        split: of the version; None for all.
        epoch: another epoch is another order, and other frames where the view leaves the start open.
        seed: likewise.
        rank: of this process among the data-parallel ones.
        world: their number.
        num_workers: processes that decode; whole shards are dealt out to them too.
        buffer: samples among which the next one is drawn; 1 or less keeps the order of the shards.
        reading: trust and storage.

    Returns:
        {key, id, caption, video_THWC (uint8 RGB)} of each sample.
    """
    wds = secured_webdataset()
    reading = reading or ReadingConfig()
    table = dataset.table(split)
    ids = {key: number for key, number in zip(*(table.column(name).to_pylist() for name in ("key", "id")), strict=True)}
    paths = sorted(set(strings(table, "shard")))
    order = np.argsort(philox("stream", seed, epoch).random_raw(len(paths)), kind="stable")
    stages: list[Any] = [
        wds.SimpleShardList([paths[place] for place in order]),
        partial(_every, rank, world),
        wds.split_by_worker,
        partial(_opened, dataset.through(partial(reading_store, reading=reading)).store),
        wds.tariterators.tar_file_expander,
        wds.tariterators.group_by_keys,
        partial(_known, ids),
        *([wds.detshuffle(buffer, min(buffer, 100), seed + epoch)] if buffer > 1 else []),
        partial(_decoded, dataset, view, ClipDecoder(reading), (seed, epoch), ids),
    ]
    return DataLoader(
        wds.DataPipeline(*stages),
        batch_size=None,
        num_workers=num_workers,
        collate_fn=_as_is,  # pyright: ignore[reportArgumentType]  one sample is what is handed out
        worker_init_fn=partial(start_worker, os.getpid()) if num_workers else None,
        multiprocessing_context=worker_context(reading.start) if num_workers else None,
    )


def secured_webdataset() -> Any:
    """The library, secured: by its variable, and by its flag in case that somebody imported it before."""
    os.environ["WDS_SECURE"] = "1"
    importlib.import_module("webdataset.utils").enforce_security = True  # pyright: ignore[reportAttributeAccessIssue]
    return importlib.import_module("webdataset")


def _every(rank: int, world: int, shards: Iterable[Any]) -> Iterator[Any]:
    return islice(shards, rank, None, world)


def _opened(store: Store, shards: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Each shard as a stream of bytes, through our store instead of a shell command."""
    for shard in shards:
        path = shard["url"]
        if isinstance(store, LocalFolder):
            with store.local_path(path).open("rb") as stream:
                yield {"url": path, "stream": stream}
        elif isinstance(store, CachedStore) and (stream := store.opened_copy(path)) is not None:
            with stream:
                yield {"url": path, "stream": stream}
        else:
            yield {"url": path, "stream": io.BytesIO(store.get(path))}


def _known(ids: dict[str, int], samples: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Those of the version and split: a shard may hold others, withdrawn ones for instance."""
    return (sample for sample in samples if sample["__key__"] in ids)


def _decoded(
    dataset: ShardDataset,
    view: ViewConfig,
    decoder: ClipDecoder,
    seeds: tuple[int, int],
    ids: dict[str, int],
    samples: Iterable[dict[str, Any]],
) -> Iterator[dict[str, Any]]:
    usable_N = fits(dataset.rows, view)
    for sample in samples:
        sample_id = ids[sample["__key__"]]
        if usable_N[sample_id]:
            row, generator = dataset.row(sample_id), sample_generator(*seeds, sample_id)
            yield {
                "key": row["key"],
                "id": sample_id,
                "caption": row["caption"],
                "video_THWC": decoder.decode(sample["mp4"], row, view, generator),
            }


def _as_is(sample: dict[str, Any]) -> dict[str, Any]:
    return sample
