"""Hundreds of epochs over a small set leave memory and open files as they are."""

import itertools
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from shards.batch import loader
from shards.manifest import Manifest
from shards.plan import PlanConfig
from shards.reader import open_dataset
from shards.reading import ReadingConfig
from shards.view import ViewConfig

VIEW = ViewConfig(num_frames=2, fps=8, height=12, width=16)


def rss_mb() -> float:
    """Of this process and its children."""
    processes = [psutil.Process(), *psutil.Process().children()]
    return sum(process.memory_info().rss for process in processes) / 1e6


@pytest.mark.parametrize("trust", ["trusted", "untrusted"])
def test_200_epochs_take_no_more_memory_than_50(tmp_path: Path, dataset_of: Callable[..., Manifest], trust: str):
    dataset_of(2)
    dataset = open_dataset(tmp_path / "dataset")
    plan = dataset.plan(PlanConfig(global_batch=2), VIEW)
    batches = loader(dataset, plan, VIEW, reading=ReadingConfig.model_validate({"trust": trust}))
    assert sum(1 for _ in itertools.islice(batches, 50)) == 50
    before_mb, open_files = rss_mb(), psutil.Process().num_fds()
    *_, last = itertools.islice(batches, 200)
    assert last.epoch == 249
    assert rss_mb() - before_mb < 4  # of 400 clips: 10 kB each
    assert psutil.Process().num_fds() == open_files
