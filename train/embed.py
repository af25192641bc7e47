"""`train embed`: the latents of every clip, made once, as a dataset of their own that points back to its source."""

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from shards.config import Config
from shards.errors import ConfigError
from shards.format.commit import Commit, commit_shard, read_commit
from shards.format.index import PLACE_COLUMNS, VERSION_COLUMNS
from shards.format.npy import npy_bytes
from shards.ids import digest
from shards.plans.view import ViewConfig
from shards.reading.decode_child import ClipDecoder
from shards.reading.reader import ShardDataset
from shards.storage.store import open_store
from shards.versions.manifest import Manifest
from shards.versions.publish import publish
from train.config import DataConfig
from train.embedded import EMBEDDED, codec_sha256
from train.engine import AnyCodec
from train.models.codec import encode_video

log = logging.getLogger(__name__)

_BATCH = 8  # clips encoded at once
_SHARD_CLIPS = 1024


def embed(
    data: DataConfig,
    dataset: ShardDataset,
    codec_config: Config,
    codec: AnyCodec,
    device: torch.device,
    out: str | Path,
    scratch: Path,
    on_clips: Callable[[int], None] = lambda count: None,
) -> Manifest:
    """Write the latents of every clip that the view fits, in order; done shards are not made again.

    Keys, captions, scores, lineage and splits are those of the source version; only the media are latents.

    Args:
        data: view and reading of the clips; their first frame must be fixed.
        dataset: the source version.
        codec_config: of the codec, for its identity.
        codec: pixels to latents, in evaluation mode, on the device.
        device: where clips are encoded.
        out: where the derived dataset goes.
        scratch: existing folder for tars while they are built.
        on_clips: called with the number of clips that were finished since.

    Raises:
        ConfigError: the view's start is random, its bucket shows images, or no clip fits.
    """
    if data.view.start == "random" or data.plan.images:
        raise ConfigError(
            f"view.start is {data.view.start} and plan.images {data.plan.images}; latents are made once of each clip; "
            "set view.start to begin or center, and images to 0"
        )
    everything = {"split": "all", "where": None, "weight": None, "require_caption": False}
    plan = dataset.plan(data.plan.model_copy(update=everything), data.view)
    made = {
        "view": data.view.resolved(),
        "codec": codec_config.resolved(),
        "codec_sha256": codec_sha256(codec_config, codec),
        "source_manifest_sha256": dataset.manifest_sha256,
    }
    groups = [
        (bucket.name, ids) for bucket in plan.buckets.values() for ids in _groups(bucket.ids_N.tolist(), _SHARD_CLIPS)
    ]
    plan_id = digest(["embed", 1, made, groups])
    store, commits = open_store(out), list[Commit]()
    for number, (bucket, ids) in enumerate(groups):
        commit = read_commit(store, plan_id, number)
        if commit is None:
            latents = _encoded(dataset, data, plan.view_of(bucket), codec, device, ids, on_clips)
            members = [{"latent.npy": npy_bytes(z_TCHW)} for z_TCHW in latents]
            commit = commit_shard(store, plan_id, number, bucket, _rows(dataset, ids), members, scratch)
            log.info("shard %d of %d: latents of %d clips", number + 1, len(groups), len(ids))
        else:
            on_clips(len(ids))
        commits.append(commit)
    return publish(store, commits, {EMBEDDED: made}, dataset.manifest.split_config)


@torch.no_grad()
def _encoded(
    dataset: ShardDataset,
    data: DataConfig,
    view: ViewConfig,
    codec: AnyCodec,
    device: torch.device,
    ids: Sequence[int],
    on_clips: Callable[[int], None],
) -> Iterator[np.ndarray]:
    decoder = ClipDecoder(data.reading)
    for group in _groups(ids, _BATCH):
        videos = [
            decoder.decode(dataset.read_member(number, "mp4"), dataset.row(number), view, np.random.default_rng(0))
            for number in group
        ]
        yield from encode_video(codec, torch.from_numpy(np.stack(videos)).to(device)).float().cpu().numpy()
        on_clips(len(group))


def _groups(ids: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    return (ids[begin : begin + size] for begin in range(0, len(ids), size))


def _rows(dataset: ShardDataset, ids: Sequence[int]) -> pa.Table:
    rows = dataset.rows.take(pa.array(ids, pa.int64()))
    made_by_writing = [name for name in ("id", *PLACE_COLUMNS, *VERSION_COLUMNS) if name in rows.column_names]
    return rows.drop_columns(made_by_writing)
