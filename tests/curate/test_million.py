"""A million clips: what deciding and planning hold in memory, each in a process of its own: peaks are theirs."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.config import load_curate_config
from curate.decision.decide import decide
from curate.pipeline import Pipeline
from shards.schema import VIDEO

NUM_CLIPS, CLIPS_PER_VIDEO = 1_000_000, 20
SETTINGS = ["pack.samples_per_shard=4096"]

DECIDE = """
import json, resource, sys, time
from pathlib import Path
from curate.ask.finished import finished_run
from curate.ask.late import decide_late
result = decide_late(finished_run(Path(sys.argv[1])), ["keep.motion=flow_mag >= 0.05"]).redecision
peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps([len(result.clips), len(result.lost), peak_bytes, round(time.process_time())]))
"""

PLAN = """
import json, sys, tracemalloc
from pathlib import Path
import pyarrow.parquet as pq
from curate.config import load_curate_config
from curate.packing import plan_packing
from curate.pipeline import Pipeline
from curate.rundir import RunDir
run_dir = RunDir(Path(sys.argv[1]))
videos, clips = (pq.read_table(run_dir.catalog(name)) for name in ("videos", "clips"))
pipeline = Pipeline.of(load_curate_config("curate/scan_only", json.loads(sys.argv[2])))
tracemalloc.start()
packing = plan_packing(pipeline, run_dir, clips, videos)
packed = sum(len(packing.tasks[number].clips) for number in range(0, len(packing.tasks), 100))
print(json.dumps([len(packing.tasks), packed, tracemalloc.get_traced_memory()[1]]))
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The catalog of a finished run of scan_only: uniform scores, one fade in each video."""
    folder = tmp_path_factory.mktemp("million")
    config = load_curate_config("curate/scan_only", SETTINGS)
    plan = Pipeline.of(config)
    videos, clips = _videos(), _clips(plan)
    (folder / "catalog").mkdir()
    (folder / "config.yaml").write_text(config.to_yaml(), encoding="utf-8")
    pq.write_table(videos, folder / "catalog" / "videos.parquet")
    pq.write_table(decide(plan.gather.gather(clips), videos, plan.clip_rules), folder / "catalog" / "clips.parquet")
    return folder


def run(code: str, *arguments: str) -> list[int]:
    done = subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_deciding_a_million_clips_and_asking_what_is_missing_takes_twenty_seconds_and_two_gigabytes(root: Path):
    num_clips, num_lost, peak_bytes, cpu_s = run(DECIDE, str(root))
    assert num_clips == NUM_CLIPS
    assert num_lost > 100_000
    assert peak_bytes < 2 << 30
    assert cpu_s < 20


@pytest.mark.slow
def test_planning_shards_of_a_million_clips_makes_few_python_objects(root: Path):
    """665,000 rows as dicts would be a gigabyte; bounds, numbers and one task at a time are a tenth of that."""
    num_tasks, num_packed, peak_bytes = run(PLAN, str(root), json.dumps(SETTINGS))
    assert num_tasks > 100
    assert num_packed > 4096
    assert peak_bytes < 150 << 20


def _clips(plan: Pipeline) -> pa.Table:
    rng, num_videos = np.random.default_rng(0), NUM_CLIPS // CLIPS_PER_VIDEO
    place = np.tile(np.arange(CLIPS_PER_VIDEO), num_videos)
    given = {
        "clip_id": _hex(rng.permutation(NUM_CLIPS)),
        "video_id": _hex(np.repeat(np.arange(num_videos), CLIPS_PER_VIDEO)),
        "start_pts": place * 100, "end_pts": place * 100 + 100, "num_frames": rng.integers(20, 400, NUM_CLIPS),
        "time_base_num": np.ones(NUM_CLIPS, int), "time_base_den": np.full(NUM_CLIPS, 25),
        "segment": np.where(place == CLIPS_PER_VIDEO - 1, "fade", "clip"), "frames_xxh3": _hex(np.arange(NUM_CLIPS)),
        **{name: rng.uniform(low, high, NUM_CLIPS) for name, low, high in (
            ("flow_mag", 0, 0.2), ("luma_mean", 20, 240), ("luma_std", 5, 60), ("sharpness", 10, 400),
            ("border_share", 0, 0.3), ("luma_change", 0, 99), ("static_share", 0, 1),
        )},
    }  # fmt: skip
    return _table(given, pa.schema([field for field in plan.clip_schema if field.name not in plan.gather.adds.names]))


def _videos() -> pa.Table:
    num = NUM_CLIPS // CLIPS_PER_VIDEO
    ids = _hex(np.arange(num))
    numbers = {
        "size_bytes": 10_000_000, "stream_index": 0, "width": 1280, "height": 720, "rotation_deg": 0, "sar_num": 1,
        "sar_den": 1, "start_pts": 0, "end_pts": 100 * CLIPS_PER_VIDEO, "time_base_num": 1, "time_base_den": 25,
    }  # fmt: skip
    return _table(
        {"uri": ids, "video_id": ids, "sha256": ids, "status": np.full(num, "ok")}
        | {name: np.full(num, value) for name, value in numbers.items()},
        VIDEO,
    )


def _table(given: dict, schema: pa.Schema) -> pa.Table:
    length = len(next(iter(given.values())))
    columns = [
        pa.array(given[field.name], field.type) if field.name in given else pa.nulls(length, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _hex(numbers: np.ndarray) -> list[str]:
    return [f"{number:016x}" for number in numbers.tolist()]
