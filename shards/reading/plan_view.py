"""What `reelmill shards plan` shows: a plan over published datasets. Nothing is decoded but to measure that."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from shards.config import Config, apply_overrides, parse_config
from shards.errors import ConfigError
from shards.plans.bucketing import num_tokens
from shards.plans.buckets import Bucket
from shards.plans.locality import Locality, locality
from shards.plans.plan import BatchPlan, PlanConfig
from shards.plans.selection import flags, funnel
from shards.plans.shard_bounds import shard_bounds, shard_starts
from shards.plans.view import ViewConfig
from shards.reading.mixture import MixedDataset, PartConfig, open_mixture
from shards.reading.reader import ShardDataset, open_dataset
from shards.versions.cli_views import Listing


class ReadConfig(Config):
    """What a trainer says of its data: the same keys stand below `data` in a training configuration."""

    plan: PlanConfig = Field(default_factory=PlanConfig, description="Which samples, how often, in which order.")
    view: ViewConfig = Field(default_factory=ViewConfig, description="Frames, rate, size, crop.")
    mix: tuple[PartConfig, ...] = Field(default=(), description="Several datasets in place of one.")


def plan_listings(
    uri: str | Path | None, version: int | None = None, overrides: Sequence[str] = (), measure: int = 0
) -> tuple[Listing, Listing]:
    """The buckets of a plan, and what an epoch is.

    Args:
        uri: dataset; None if `mix` names several.
        version: of the dataset.
        overrides: `key.sub=value` over ReadConfig.
        measure: clips of each kind that are decoded, to say what that costs here; 0: none.

    Raises:
        ConfigError: no or two places to read from, or no batch can be made.
    """
    config = parse_config(ReadConfig, apply_overrides({}, overrides), "--set")
    if (uri is None) != bool(config.mix):
        raise ConfigError(
            f"dataset is {uri} and mix has {len(config.mix)} datasets; a folder or a mixture is allowed; name one"
        )
    dataset = open_mixture(config.mix) if uri is None else open_dataset(uri, version)
    plan = dataset.plan(config.plan, config.view)
    parts = dataset.parts if isinstance(dataset, MixedDataset) else (dataset,)
    sizes_S = np.concatenate([_shard_sizes(part) for part in parts])
    where = locality(plan, shard_bounds([part.rows for part in parts]), sizes_S)
    epoch = _epoch(plan, dataset, where)
    if measure:
        from shards.reading.decode_cost import measured_costs

        epoch.rows.extend(measured_costs(dataset, plan, measure))
    return _buckets(plan), epoch


def _buckets(plan: BatchPlan) -> Listing:
    columns = ["bucket", "clips", "clips per batch", "tokens per batch", "batches", "share of steps"]
    rows = [_bucket_row(plan, bucket) for bucket in plan.buckets.values()]
    empty = [name for name, batches in plan.num_batches.items() if not batches]
    title = f"{len(rows)} buckets, {len(empty)} of them empty"
    return Listing(f"{title}: {', '.join(empty)}" if empty else title, columns, rows)


def _bucket_row(plan: BatchPlan, bucket: Bucket) -> list[str]:
    tokens = ""
    if (view := bucket.view) is not None:
        each = num_tokens(plan.config, view.num_frames, view.height, view.width)
        tokens = f"{bucket.batch_size * each:,}"
    return [
        bucket.name,
        f"{len(bucket.ids_N):,}",
        f"{bucket.batch_size:,}",
        tokens,
        f"{bucket.num_batches:,}",
        f"{bucket.num_batches / plan.steps_per_epoch:.1%}",
    ]


def _epoch(plan: BatchPlan, dataset: ShardDataset, where: Locality) -> Listing:
    clips = sum(bucket.num_batches * bucket.batch_size for bucket in plan.buckets.values())
    is_usable_N = np.zeros(len(dataset), bool)
    for bucket in plan.buckets.values():
        is_usable_N[bucket.ids_N] = True
    usable = np.flatnonzero(is_usable_N)
    facts = [
        ["steps per epoch", f"{plan.steps_per_epoch:,}"],
        ["clips", f"{len(usable):,} of {len(dataset):,} can be shown; an epoch shows {clips:,}"],
        ["left after", ", ".join(f"{count:,} {name}" for name, count in funnel([dataset.rows], plan.config).items())],
        [
            "mixing",
            f"{where.mixing:.2f}: {where.shards_per_batch:.1f} shards in a batch, {where.shards_per_batch_full:.1f} if "
            f"shuffled fully",
        ],
        ["cache need", f"{where.open_shards:,} shards at once, {where.open_bytes / 1e6:,.1f} MB"],
        *_decode_cost(dataset, usable),
        ["plan", plan.sha256],
        ["manifest", dataset.manifest_sha256],
    ]
    return Listing(f"an epoch of split {plan.config.split}", ["what", "value"], facts)


def _decode_cost(dataset: ShardDataset, ids: np.ndarray) -> list[list[str]]:
    """What copied clips cost beside encoded ones: their preroll is decoded and never shown."""
    preroll_N, frames_N = (dataset.rows.column(name).to_numpy()[ids] for name in ("preroll_frames", "num_frames"))
    is_copy_N = flags(pc.equal(dataset.rows.column("cut_mode"), pa.scalar("copy")))[ids]
    costs = [
        f"{1 + preroll_N[some_N].sum() / frames_N[some_N].sum():.3f} of {kind} clips ({some_N.sum():,})"
        for kind, some_N in (("copied", is_copy_N), ("encoded", ~is_copy_N))
        if some_N.any()
    ]
    share = preroll_N.sum() / (preroll_N.sum() + frames_N.sum())
    return [
        ["preroll", f"{share:.1%} of the frames of whole clips are decoded and not shown"],
        ["decoded per frame", ", ".join(costs)],
    ]


def _shard_sizes(dataset: ShardDataset) -> np.ndarray:
    """Bytes of the shards that hold published samples, in their order."""
    sizes = {commit.shard.path: commit.shard.size_bytes for commit in dataset.manifest.shards}
    shards = dataset.rows.column("shard").take(pa.array(shard_starts(dataset.rows).tolist(), pa.int64()))
    return np.array([sizes[str(path)] for path in shards.to_pylist()])
