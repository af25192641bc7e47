"""From rows of plan indexes to the buckets of a plan. Rows are looked at in chunks, so that memory stays small."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from shards.errors import ConfigError
from shards.plans.bucketing import Kind, assign, bucket_kinds
from shards.plans.buckets import Bucket
from shards.plans.plan_config import PlanConfig
from shards.plans.selection import Selection, compile_selection
from shards.plans.shard_bounds import shard_bounds
from shards.plans.view import ViewConfig

CHUNK_ROWS = 1 << 20


@dataclass(frozen=True)
class _Chunk:
    """Some rows of one part.

    Attributes:
        part: number of the dataset in the mixture.
        first_id: of the rows.
        kind_GN: for videos and for images, the row's place in the list of kinds, or -1; without images those are empty.
        weight_N: float32; None: all weigh 1.
    """

    part: int
    first_id: int
    kind_GN: tuple[np.ndarray, np.ndarray]
    weight_N: np.ndarray | None


def fill_buckets(
    tables: Sequence[pa.Table],
    config: PlanConfig,
    view: ViewConfig | None,
    shares: Sequence[float] | None = None,
) -> list[Bucket]:
    """The buckets of a plan, those that stay empty included.

    Args:
        tables: plan indexes; ids of the second go on where those of the first end.
        config: which rows, how often, in which batches.
        view: how they are shown.
        shares: of each table in the samples that an epoch shows, relative to each other; None: as many as it has.

    Raises:
        ConfigError: an expression of the plan does not fit the columns, a sample has no weight, or a table has a share
            and no sample that can be shown.
    """
    kinds = bucket_kinds(config, view, tables)
    chunks = _looked_at(tables, config, kinds)
    scale_PG = None if shares is None else _scales(chunks, shares, kinds)
    bounds = shard_bounds(tables) if config.shuffle == "blocks" else None
    filled = _filled(chunks, kinds, scale_PG, sum(map(len, tables)))
    batches = _num_batches([_mass(*pair) for pair in filled], [len(ids_N) for ids_N, _ in filled], kinds, config)
    return [
        Bucket(
            kind.name,
            ids_N,
            kind.batch_size,
            num_batches,
            mass_N is not None or kind.is_image,
            mass_N,
            None if bounds is None else np.searchsorted(ids_N, bounds.astype(ids_N.dtype)),
            kind.view,
        )
        for kind, (ids_N, mass_N), num_batches in zip(kinds, filled, batches, strict=True)
    ]


def _looked_at(tables: Sequence[pa.Table], config: PlanConfig, kinds: Sequence[Kind]) -> list[_Chunk]:
    chunks: list[_Chunk] = []
    first_id, bad_ids, num_taken = 0, [], 0
    for part, table in enumerate(tables):
        selection = compile_selection(config, table.schema)
        for start in range(0, len(table), CHUNK_ROWS):
            chunk = _look(table.slice(start, CHUNK_ROWS), selection, kinds, part, first_id + start)
            if chunk.weight_N is not None:
                taken_N = np.logical_or.reduce([kind_N >= 0 for kind_N in chunk.kind_GN if len(kind_N)])
                num_taken += int(taken_N.sum())
                bad_ids.append(chunk.first_id + np.flatnonzero(np.isnan(chunk.weight_N) & taken_N))
            chunks.append(chunk)
        first_id += len(table)
    if sum(map(len, bad_ids)):
        bad = np.concatenate(bad_ids)
        raise ConfigError(
            f"plan.weight is {config.weight!r}, which is null, negative or infinite for {len(bad)} of {num_taken} "
            f"samples (the first is {bad[0]}); numbers from 0 are allowed; write COALESCE(…, 1), or use plan.where"
        )
    return chunks


def _look(rows: pa.Table, selection: Selection, kinds: Sequence[Kind], part: int, first_id: int) -> _Chunk:
    kept_N = selection.kept(rows)
    videos = [kind for kind in kinds if not kind.is_image]
    stills = kinds[len(videos) :]
    video_N = assign(rows, kept_N & selection.is_long(rows), videos)
    still_N = assign(rows, kept_N & selection.is_image(rows), stills) if stills else np.zeros(0, np.int16)
    weight_N = selection.weights(rows) if selection.weight is not None else None
    for kind_N in (video_N, still_N):
        if weight_N is not None and len(kind_N):
            kind_N[weight_N == 0] = -1
    still_N[still_N >= 0] += len(videos)
    return _Chunk(part, first_id, (video_N, still_N), weight_N)


def _scales(chunks: Sequence[_Chunk], shares: Sequence[float], kinds: Sequence[Kind]) -> np.ndarray:
    """For each part, what its weights in videos and in images are multiplied by, so that they sum up to its share."""
    total_PG = np.zeros((len(shares), 2))
    for chunk in chunks:
        for group, kind_N in enumerate(chunk.kind_GN):
            rows = np.flatnonzero(kind_N >= 0)
            weights = np.ones(len(rows)) if chunk.weight_N is None else chunk.weight_N[rows].astype(np.float64)
            total_PG[chunk.part, group] += weights.sum()
    empty = [part for part, total_G in enumerate(total_PG) if not total_G.any()]
    if empty:
        raise ConfigError(
            f"mix.{empty[0]} has a weight and no sample that plan and view can use; every dataset of a mixture shows "
            f"something; remove it, or loosen view and plan"
        )
    return np.asarray(shares)[:, None] / np.where(total_PG > 0, total_PG, 1.0)


def _filled(
    chunks: list[_Chunk], kinds: Sequence[Kind], scale_PG: np.ndarray | None, num_rows: int
) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """Ids and mass of each bucket. The chunks are used up, so that they and the result are never all in memory."""
    counts = np.zeros(len(kinds) + 1, np.int64)
    for chunk in chunks:
        for kind_N in chunk.kind_GN:
            counts += np.bincount(kind_N + 1, minlength=len(counts))
    weighed = scale_PG is not None or any(chunk.weight_N is not None for chunk in chunks)
    dtype = np.uint32 if num_rows < 2**32 else np.int64
    filled = [(np.empty(count, dtype), np.empty(count) if weighed else None) for count in counts[1:]]
    ends = [0] * len(kinds)
    for chunk in _used_up(chunks):
        for place, (ids_N, mass_N) in enumerate(filled):
            group = int(kinds[place].is_image)
            rows = np.flatnonzero(chunk.kind_GN[group] == place)
            part = slice(ends[place], ends[place] + len(rows))
            ids_N[part] = chunk.first_id + rows
            if mass_N is not None:
                scale = 1.0 if scale_PG is None else scale_PG[chunk.part, group]
                mass_N[part] = scale if chunk.weight_N is None else scale * chunk.weight_N[rows].astype(np.float64)
            ends[place] = part.stop
    for _, mass_N in filled:
        if mass_N is not None:
            np.cumsum(mass_N, out=mass_N)
    return filled


def _used_up(chunks: list[_Chunk]) -> Iterator[_Chunk]:
    chunks.reverse()
    while chunks:
        yield chunks.pop()


def _mass(ids_N: np.ndarray, mass_N: np.ndarray | None) -> float:
    if mass_N is None:
        return float(len(ids_N))
    return float(mass_N[-1]) if len(mass_N) else 0.0


def _num_batches(
    masses: Sequence[float], counts: Sequence[int], kinds: Sequence[Kind], config: PlanConfig
) -> list[int]:
    """Global batches of each bucket in an epoch: the same in every epoch.

    An epoch shows as many videos as take part, divided among the buckets by their weight. Images add their share.
    """
    videos = [place for place, kind in enumerate(kinds) if not kind.is_image]
    num_videos, mass = sum(counts[place] for place in videos), sum(masses[place] for place in videos)
    batches = [0] * len(kinds)
    for place in videos:
        size = kinds[place].batch_size
        items = num_videos * masses[place] / mass if mass else 0.0
        batches[place] = int((items + (size - 1 if config.tail == "pad" else 0)) / size + 1e-9)
    stills = list(range(len(videos), len(kinds)))
    num_stills = round(sum(batches) * config.images / (1 - config.images))
    for place, steps in zip(stills, _divided(num_stills, [masses[place] for place in stills]), strict=True):
        batches[place] = steps
    return batches


def _divided(total: int, weights: Sequence[float]) -> list[int]:
    """A whole number in whole parts nearest to the weights (largest remainders, earlier first)."""
    mass = sum(weights)
    if not mass:
        return [0] * len(weights)
    exact = [total * weight / mass for weight in weights]
    parts = [int(value) for value in exact]
    by_remainder = sorted(range(len(weights)), key=lambda place: parts[place] - exact[place])
    for place in by_remainder[: total - sum(parts)]:
        parts[place] += 1
    return parts
