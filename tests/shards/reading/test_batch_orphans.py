"""Decoding processes must not outlive a trainer that was killed."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

import shards
from shards.versions.manifest import Manifest

TRAINER = """
import sys
import psutil
from shards.reading.batch import loader
from shards.plans.plan import PlanConfig
from shards.reading.reader import open_dataset
from shards.plans.view import ViewConfig

if __name__ == "__main__":
    view = ViewConfig(num_frames=4, fps=4, height=12, width=16)
    dataset = open_dataset(sys.argv[1])
    batches = loader(dataset, dataset.plan(PlanConfig(global_batch=2), view), view, num_workers=1)
    next(batches)
    print(*(child.pid for child in psutil.Process().children(recursive=True)), flush=True)
    sys.stdin.read()
"""


def test_no_process_is_left_when_the_trainer_is_killed(dataset_of: Callable[..., Manifest], tmp_path: Path):
    dataset_of(6)
    script = tmp_path / "trainer.py"
    script.write_text(TRAINER, encoding="utf-8")
    command = [sys.executable, str(script), str(tmp_path / "dataset")]
    env = {**os.environ, "PYTHONPATH": str(Path(shards.__file__).parents[1])}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env) as trainer:
        assert trainer.stdout is not None
        workers = [int(pid) for pid in trainer.stdout.readline().split()]
        assert workers
        trainer.kill()
    deadline = time.monotonic() + 20
    while any(map(_runs, workers)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert [pid for pid in workers if _runs(pid)] == []


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
