"""What a large version costs before its first batch: 10,000 shards of a thousand latents.

One shard is written and published for real. Its tar is linked under 10,000 names, its rows are repeated with a shard of
their own (keys stay those of the tar's headers), and a manifest names all that, so every sample is read and checked.
Each measurement is a fresh process (`open_process`), first with the page cache emptied of what it reads, then, the
median of the repeats, with what the first has left there.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from reelmill.bench.latent_set import commit_latents
from reelmill.bench.open_process import FRAMES_SHOWN
from reelmill.bench.processes import run_command
from shards.format.commit import Commit
from shards.format.index import read_index
from shards.storage.store import open_store
from shards.versions.manifest import LATEST, PlanIndexFile, manifest_path, read_manifest
from shards.versions.plan_index import write_rows
from shards.versions.publish import publish
from shards.versions.splits import SplitConfig


def opening_figures(dataset: Path, repeats: int) -> dict[str, float]:
    """Seconds and memory of opening, of the first batch at a far step, and of the commands `ls` and `plan`."""
    cold = _fresh(dataset, "--cold")
    runs = [_fresh(dataset) for _ in range(repeats)]
    warm = {name: statistics.median(run[name] for run in runs) for name in cold}
    figures = {f"{name}_s": warm[f"{name}_s"] for name in ("open", "resume")}
    figures |= {"plan_memory_mb": max(warm["plan_memory_mb"], cold["plan_memory_mb"])}
    figures |= {f"{name}_s_cold_disk": cold[f"{name}_s"] for name in ("open", "resume")}
    figures |= {name: warm[name] for name in ("open_cpu_s", "plan_s", "plan_cpu_s", "plan_peak_mb")}
    for name, options in (("ls", ()), ("plan", ("--set", f"view.num_frames={FRAMES_SHOWN}"))):
        cost = run_command([sys.executable, "-m", "reelmill", "shards", name, str(dataset), *options])
        figures |= {f"command_{name}_s": cost.wall_s, f"command_{name}_cpu_s": cost.cpu_s}
    files = [path for path in dataset.glob("manifests/*") if path.is_file()]
    return {**figures, "manifest_and_plan_index_mb": sum(path.stat().st_size for path in files) / 1e6}


def make_large(folder: Path, num_shards: int, per_shard: int) -> Path:
    """The version below a folder; the path of its dataset."""
    dataset = folder / "large"
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        commit = commit_latents(dataset, 0, per_shard, Path(scratch))
    small = publish(dataset, [commit], {"made_by": "bench"}, SplitConfig(val=0.0))
    commits = [_renamed(commit, number) for number in range(num_shards)]
    for one in commits[1:]:
        os.link(dataset / commit.shard.path, dataset / one.shard.path)
    index = read_index((dataset / commit.index.path).read_bytes())
    large = small.model_copy(
        update={
            "version": 2,
            "shards": tuple(commits),
            "plan_index": _write_plan_index(dataset, index, [one.shard.path for one in commits]),
        }
    )
    (dataset / manifest_path(2)).write_bytes(large.to_bytes())
    (dataset / LATEST).write_text(f"v000002 {large.sha256()}\n")
    assert read_manifest(open_store(dataset)).version == 2
    return dataset


def _renamed(commit: Commit, number: int) -> Commit:
    old = f"-{commit.shard_no:06d}."
    shard, index = (
        file.model_copy(update={"path": file.path.replace(old, f"-{number:06d}.")})
        for file in (commit.shard, commit.index)
    )
    return commit.model_copy(update={"shard_no": number, "shard": shard, "index": index})


def _write_plan_index(dataset: Path, index: pa.Table, shards: list[str]) -> PlanIndexFile:
    num_rows = len(index) * len(shards)
    rows = pa.concat_tables([index] * len(shards))
    names: Any = pa.array(np.arange(len(shards), dtype=np.int32).repeat(len(index)))
    places: Any = pa.DictionaryArray.from_arrays(names, pa.array(shards)).dictionary_decode()
    rows = rows.set_column(rows.schema.get_field_index("shard"), rows.schema.field("shard"), places)
    with tempfile.TemporaryDirectory(dir=dataset) as scratch:
        written = write_rows(rows, pa.repeat(pa.scalar("train"), num_rows), Path(scratch))
        os.replace(written.path, dataset / written.file.path)
    return written.file


def _fresh(dataset: Path, *options: str) -> dict[str, float]:
    started_s = time.perf_counter()
    command = [sys.executable, "-m", "reelmill.bench.open_process", str(dataset), *options]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return {**json.loads(done.stdout.splitlines()[-1]), "process_s": time.perf_counter() - started_s}
