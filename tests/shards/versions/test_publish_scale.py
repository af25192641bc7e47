"""What publishing holds in memory, in a process of its own: a few columns, not the rows."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PUBLISH = """
import json, re, sys, threading, time
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa

from shards.format.commit import Commit, StoredFile
from shards.format.index import ROW, index_bytes, index_table
from shards.format.writer import MemberRecord
from shards.schema import column
from shards.versions.publish import publish
from shards.versions.splits import SplitConfig

ROWS, FRAMES = 1000, 64
root, num_shards = Path(sys.argv[1]), int(sys.argv[2])
scores = [column(f"score_{number}", pa.float32(), "", "A score.") for number in range(12)]


def rows(shard):
    numbers = range(shard * ROWS, (shard + 1) * ROWS)
    values = {
        "key": [f"{number:016x}" for number in numbers],
        "video_id": [f"{number // 20:016x}" for number in numbers],
        "caption": [f"{number}: a person walks along a street in the rain and looks at us" for number in numbers],
        "source_uri": [f"s3://bucket/videos/{number // 20:016x}.mp4" for number in numbers],
        "source_sha256": [f"{number // 20:064x}" for number in numbers],
        "frame_pts": [np.arange(FRAMES) * 512] * ROWS,
        "num_frames": [FRAMES] * ROWS,
        "duration_s": [2.5] * ROWS,
    }
    table = pa.table({f.name: pa.array(values.get(f.name, [None] * ROWS), f.type) for f in ROW}, schema=ROW)
    for score in scores:
        table = table.append_column(score, pa.array(np.random.default_rng(shard).random(ROWS, np.float32)))
    return table


def commit(shard):
    name = f"toy/abababab-{shard:06d}"
    places = {s: MemberRecord(512, 1 << 20, 7) for s in ("json", "mp4", "txt")}
    table = rows(shard)
    samples = [(key, places) for key in table.column("key").to_pylist()]
    index = index_bytes(index_table(table, f"shards/{name}.tar", "toy", samples))
    for path, data in ((f"shards/{name}.tar", b""), (f"index/{name}.parquet", index)):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    return Commit(
        plan_id="ab" * 32, shard_no=shard, bucket="toy", num_samples=ROWS,
        shard=StoredFile(path=f"shards/{name}.tar", size_bytes=0, sha256="0" * 64),
        index=StoredFile(path=f"index/{name}.parquet", size_bytes=len(index), sha256=sha256(index).hexdigest()),
    )


def held():
    return int(re.search(r"RssAnon:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024


commits = [commit(shard) for shard in range(num_shards)]
pa.default_memory_pool().release_unused()
peak, before, ended = [held()], held(), threading.Event()


def watch():
    while not ended.wait(0.005):
        peak[0] = max(peak[0], held())


watcher = threading.Thread(target=watch)
watcher.start()
started_s = time.process_time()
manifest = publish(root, commits, {}, SplitConfig(val=0.05), keep_keys=None)
cpu_s = time.process_time() - started_s
ended.set()
watcher.join()
size = (root / manifest.plan_index.path).stat().st_size
print(json.dumps([manifest.stats.num_samples, size, before, peak[0], cpu_s]))
"""


@pytest.mark.parametrize(
    ("num_shards", "limit_bytes"),
    [(20, 400 << 20), pytest.param(1000, 2 << 30, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])],
)
def test_publishing_holds_less_than_the_rows_of_the_version(tmp_path: Path, num_shards: int, limit_bytes: int):
    """A thousand shards are a million samples, whose plan index alone is a gigabyte and more."""
    script = tmp_path / "publish_many.py"
    script.write_text(PUBLISH)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3]), "TMPDIR": str(tmp_path)}
    command = [sys.executable, str(script), str(tmp_path / "dataset"), str(num_shards)]
    done = subprocess.run(command, check=True, env=environment, capture_output=True, text=True)
    num_samples, plan_bytes, before, peak, _ = json.loads(done.stdout.splitlines()[-1])
    assert num_samples == num_shards * 1000
    assert plan_bytes > 1000 * num_samples
    assert peak < limit_bytes, f"{before} to {peak} bytes for a plan index of {plan_bytes}"
