"""Dead and stuck readers become errors that name the sample; slow ones are waited for."""

import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import shards
from shards.plans.plan import PlanConfig
from shards.plans.view import ViewConfig
from shards.reading.batch import loader
from shards.reading.config import ReadingConfig
from shards.reading.reader import ShardDataset, open_dataset
from shards.reading.watchdog import LoaderStopped
from shards.versions.manifest import Manifest

VIEW = ViewConfig(num_frames=4, fps=4, height=12, width=16)
PLAN = PlanConfig(global_batch=2, shuffle="none")

UNGUARDED = """
import sys
from shards.reading import batch, watchdog
from shards.reading.batch import loader
from shards.plans.plan import PlanConfig
from shards.reading.reader import open_dataset
from shards.plans.view import ViewConfig
watchdog.POLL_S = 0.5
batch.check_presence = lambda *_: None
view = ViewConfig(num_frames=4, fps=4, height=12, width=16)
dataset = open_dataset(sys.argv[1])
next(loader(dataset, dataset.plan(PlanConfig(global_batch=2), view), view, num_workers=1))
"""

GUARDED = """
import os, sys, time
import psutil
from shards.reading import batch, watchdog
from shards.reading.batch import loader
from shards.plans.plan import PlanConfig
from shards.reading.reader import open_dataset
from shards.reading.config import ReadingConfig
from shards.plans.view import ViewConfig
batch.check_presence = lambda *_: None

def told(timeout_s, meanwhile):
    view = ViewConfig(num_frames=4, fps=4, height=12, width=16)
    dataset = open_dataset(sys.argv[1])
    plan = dataset.plan(PlanConfig(global_batch=2, shuffle="none"), view)
    batches = loader(dataset, plan, view, rank=0, num_workers=1, reading=ReadingConfig(timeout_s=timeout_s))
    try:
        meanwhile(next(batches))
        next(batches)
    except watchdog.LoaderStopped as error:
        print(error, flush=True)

def kill_the_worker(_):
    time.sleep(0.5)
    for process in psutil.Process().children(recursive=True):
        if process.ppid() != os.getpid():  # the fork server's child, neither it nor the resource tracker
            process.kill()

if __name__ == "__main__":
    watchdog.POLL_S = 0.5
    told(3, lambda batch: None)
    told(600, kill_the_worker)
"""


@pytest.fixture
def dataset(tmp_path: Path, dataset_of: Callable[..., Manifest]) -> ShardDataset:
    """Two samples per shard; opening the second shard waits for ever. Sizes must not be looked at: a fifo has none."""
    manifest = dataset_of(6, per_shard=2)
    tar = tmp_path / "dataset" / manifest.shards[1].shard.path
    tar.unlink()
    os.mkfifo(tar)
    return open_dataset(tmp_path / "dataset")


def script(tmp_path: Path, text: str) -> subprocess.CompletedProcess[str]:
    path = tmp_path / "script.py"
    path.write_text(text, encoding="utf-8")
    command = [sys.executable, str(path), str(tmp_path / "dataset")]
    env = {**os.environ, "PYTHONPATH": str(Path(shards.__file__).parents[1])}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=env)


def test_a_reader_that_hangs_is_named_with_its_stacks(
    dataset: ShardDataset, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("shards.reading.batch.check_presence", lambda *_: None)
    batches = loader(dataset, dataset.plan(PLAN, VIEW), VIEW, reading=ReadingConfig(timeout_s=0.5))
    assert next(batches).keys == ["clip-000", "clip-001"]
    place = rf"sample clip-002 \(\.mp4 at byte \d+ of {dataset.manifest.shards[1].shard.path}\) for \d s"
    with pytest.raises(LoaderStopped, match=rf"rank 0 has had no batch for 0\.5 s; worker 0 \(pid \d+\) .* {place}"):
        next(batches)
    assert "in get_parts" in capfd.readouterr().err


def test_a_worker_that_hangs_or_dies_is_named(dataset: ShardDataset, tmp_path: Path):
    """Its start takes longer than the looks between: a slow worker is waited for."""
    done = script(tmp_path, GUARDED)
    assert done.returncode == 0, done.stderr
    hung, died = done.stdout.splitlines()
    assert hung.startswith("rank 0 has had no batch for 3 s; worker 0 (pid ")
    assert "has been at sample clip-002 (.mp4 at byte " in hung
    assert "in get_parts" in done.stderr
    assert died.startswith("rank 0: worker 0 (pid ")
    assert "died reading sample clip-002 (.mp4 at byte " in died


def test_workers_that_die_at_their_start_are_noticed_in_seconds(dataset: ShardDataset, tmp_path: Path):
    done = script(tmp_path, UNGUARDED)
    assert done.returncode == 1
    assert "ended before it was up" in done.stderr
    assert """needs its `if __name__ == "__main__":`""" in done.stderr


def test_waiting_starts_anew_with_each_batch(dataset_of: Callable[..., Manifest], tmp_path: Path):
    dataset_of(6)
    dataset = open_dataset(tmp_path / "dataset")
    batches = loader(dataset, dataset.plan(PLAN, VIEW), VIEW, reading=ReadingConfig(timeout_s=5))
    assert [batch.position.step for batch in itertools.islice(batches, 4)] == [1, 2, 0, 1]
