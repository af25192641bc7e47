"""What decoding a clip costs here, copied against encoded: measured on some clips of a plan, as the loader decodes."""

import time
from collections.abc import Sequence

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.compute as pc

from shards.plans.plan import BatchPlan, sample_generator
from shards.plans.selection import flags
from shards.plans.view import ViewConfig
from shards.reading.config import ReadingConfig
from shards.reading.decode_child import ClipDecoder, is_trusted
from shards.reading.reader import ShardDataset
from shards.schema import ADOPTED

_KINDS = {"copied": ["copy"], "encoded": ["encode"], "imported": ["import", ADOPTED]}
_LEAST_S = 0.5  # a child's CPU time is told in steps of 10 ms


def measured_costs(dataset: ShardDataset, plan: BatchPlan, num_clips: int) -> list[list[str]]:
    """Rows of `shards plan`: CPU ms per clip of each kind that the plan shows.

    Args:
        dataset: an opened version.
        plan: of it.
        num_clips: of each kind, evenly spread over the plan's; decoded again and again for at least half a second.

    Raises:
        ContractError: a clip is damaged or does not decode.
    """
    views = {
        int(sample_id): bucket.view
        for bucket in plan.buckets.values()
        if bucket.view is not None and bucket.view.num_frames > 1
        for sample_id in spread(bucket.ids_N, num_clips * 4)
    }
    ids = np.array(sorted(views), np.int64)
    modes = dataset.rows.column("cut_mode").take(pa.array(ids.tolist(), pa.int64()))
    of_kind = {kind: flags(pc.is_in(modes, value_set=pa.array(names))) for kind, names in _KINDS.items()}
    kinds = {kind: spread(ids[is_N], num_clips) for kind, is_N in of_kind.items()}
    told = [_told(kind, some, views, dataset, plan) for kind, some in kinds.items() if len(some)]
    return [["measured decode", "; ".join(told)]] if told else []


def spread(ids_N: np.ndarray, count: int) -> np.ndarray:
    """At most so many ids, at even distances."""
    if len(ids_N) <= count:
        return ids_N
    return ids_N[np.arange(count) * len(ids_N) // count]


def _told(
    kind: str, ids: Sequence[int] | np.ndarray, views: dict[int, ViewConfig], dataset: ShardDataset, plan: BatchPlan
) -> str:
    reading = ReadingConfig()
    decoder = ClipDecoder(reading)
    clips = [(dataset.read_member(int(i), "mp4"), dataset.row(int(i)), views[int(i)], int(i)) for i in ids]

    def decode_all() -> None:
        for mp4, row, view, sample_id in clips:
            decoder.decode(mp4, row, view, sample_generator(plan.config.seed, 0, sample_id))

    decode_all()  # starts the child, and whatever is loaded at first use
    before_s, started_s, rounds = _cpu_s(decoder), time.monotonic(), 0
    while time.monotonic() - started_s < _LEAST_S or not rounds:
        decode_all()
        rounds += 1
    ms = (_cpu_s(decoder) - before_s) / (rounds * len(clips)) * 1000
    where = "in process" if is_trusted(clips[0][1], reading) else "in the child"
    return f"{ms:.1f} ms of CPU for each {kind} clip ({len(clips)} clips, {where})"


def _cpu_s(decoder: ClipDecoder) -> float:
    """Of this process and the decoder's child."""
    child = 0.0
    if decoder.child_pid is not None:
        times = psutil.Process(decoder.child_pid).cpu_times()
        child = times.user + times.system
    return time.process_time() + child
