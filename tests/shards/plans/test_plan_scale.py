"""Ten million samples: what a plan costs before the first batch, and at any step."""

import time
import tracemalloc
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from shards.plans.plan import PlanConfig, plan_batches
from shards.plans.view import ViewConfig

SAMPLES = 10_000_000
MEMORY_B = 200_000_000


def texts(values: list[str], places: np.ndarray) -> Any:
    """A column of few texts, without SAMPLES Python strings."""
    indices: Any = pa.array(places)
    return pa.DictionaryArray.from_arrays(indices, pa.array(values)).dictionary_decode()


@pytest.fixture(scope="module")
def index() -> pa.Table:
    generator, same = np.random.default_rng(0), np.zeros(SAMPLES, np.int8)
    columns: dict[str, Any] = {
        "id": np.arange(SAMPLES),
        "split": texts(["train"], same),
        "caption": texts(["red"], same),
        "shard": texts([f"{n:05d}.tar" for n in range(10_000)], np.arange(SAMPLES) // 1000),
        "num_frames": pa.array(np.full(SAMPLES, 100, np.int32)),
        "source_start_pts": np.zeros(SAMPLES, np.int64),
        "source_end_pts": generator.integers(1000, 9000, SAMPLES),
        "source_time_base_num": np.ones(SAMPLES, np.int64),
        "source_time_base_den": np.full(SAMPLES, 1000),
        "motion": generator.random(SAMPLES, np.float32),
    }
    return pa.table(columns)


@pytest.mark.slow
@pytest.mark.parametrize(
    "config",
    [
        {},
        {"shuffle": "blocks"},
        {"where": "motion > 0.5"},
        {"weight": "1 + motion"},
    ],
)
def test_ten_million_samples_cost_little_memory_and_no_wait(index: pa.Table, config: dict[str, str]):
    arrow_B = pa.total_allocated_bytes()
    tracemalloc.start()
    started_s = time.process_time()
    plan = plan_batches([index], PlanConfig.model_validate(config), ViewConfig(fps=8))
    batch = plan.batch(7, plan.steps_per_epoch * 2 // 3)
    took_s = time.process_time() - started_s
    now_B, most_B = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(set(batch.ids_B.tolist())) == 64
    assert most_B < MEMORY_B
    assert now_B + pa.total_allocated_bytes() - arrow_B < MEMORY_B
    assert took_s < 2
    print(f"{config}: {took_s:.2f} s, {most_B / 1e6:.0f} MB at most, {now_B / 1e6:.0f} MB kept")
