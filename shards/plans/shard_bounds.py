"""Where shards begin among the rows of plan indexes."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute


def shard_bounds(tables: Sequence[pa.Table]) -> np.ndarray:
    """Ids at which shards begin, and the end: int64 (S + 1,). Ids go on from table to table."""
    bounds, first_id = [np.zeros(0, np.int64)], 0
    for table in tables:
        bounds.append(first_id + shard_starts(table))
        first_id += len(table)
    return np.append(np.concatenate(bounds), first_id)


def shard_starts(table: pa.Table) -> np.ndarray:
    """Row numbers at which a shard begins: int64 (S,); rows are in order of shard."""
    starts, last, first_row = [np.zeros(0, np.int64)], None, 0
    run_end_encode = getattr(pyarrow.compute, "run_end_encode")  # noqa: B009  the stubs do not know it
    for chunk in table.column("shard").chunks:
        runs = run_end_encode(chunk, run_end_type=pa.int64())
        begins = np.append(0, runs.run_ends.to_numpy()[:-1])
        same = runs.values[0].as_py() == last
        starts.append(first_row + begins[int(same) :])
        first_row, last = first_row + len(chunk), runs.values[-1].as_py()
    return np.concatenate(starts)
