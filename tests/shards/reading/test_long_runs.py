"""Hundreds of epochs over a small set leave memory and open files as they are."""

import itertools
import multiprocessing
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from shards.plans.plan import PlanConfig
from shards.plans.view import ViewConfig
from shards.reading.batch import loader
from shards.reading.config import ReadingConfig
from shards.reading.reader import open_dataset
from shards.versions.manifest import Manifest

VIEW = ViewConfig(num_frames=2, fps=8, height=12, width=16)


def rss_mb() -> float:
    """Of this process and its children."""
    processes = [psutil.Process(), *psutil.Process().children()]
    return sum(process.memory_info().rss for process in processes) / 1e6


def read_250_epochs(root: Path, trust: str) -> tuple[int, float, int]:
    """Last epoch, and growth of memory in MB and of open files over the last 200."""
    dataset = open_dataset(root)
    plan = dataset.plan(PlanConfig(global_batch=2), VIEW)
    batches = loader(dataset, plan, VIEW, reading=ReadingConfig.model_validate({"trust": trust}))
    assert sum(1 for _ in itertools.islice(batches, 50)) == 50
    before_mb, open_files = rss_mb(), psutil.Process().num_fds()
    *_, last = itertools.islice(batches, 200)
    return last.epoch, rss_mb() - before_mb, psutil.Process().num_fds() - open_files


@pytest.mark.parametrize("trust", ["trusted", "untrusted"])
def test_200_epochs_take_no_more_memory_than_50(tmp_path: Path, dataset_of: Callable[..., Manifest], trust: str):
    dataset_of(2)
    with multiprocessing.get_context("spawn").Pool(1) as pool:  # other tests' memory comes and goes in this process
        epoch, growth_mb, new_files = pool.apply(read_250_epochs, (tmp_path / "dataset", trust))
    assert epoch == 249
    assert growth_mb < 4  # of 400 clips: 10 kB each
    assert new_files == 0
