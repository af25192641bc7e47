"""Packing killed (-9) at each of its steps: the same command again gives the same shards, byte for byte."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shards.faults import PACKING, VARIABLE
from shards.versions.verify import verify
from tests.curate.tiny_runs import draw
from tests.shards.faults.drivers import data_files


def run(root: Path, output: Path, fault: str = "") -> int:
    """Exit code of a run in a process of its own; two clips, two shards."""
    command = [sys.executable, "-m", "reelmill", "curate", "run", "curate/scan_only", str(root / "in")]
    settings = ("run.workers=1", "scenes.min_clip_s=0.5", "pack.samples_per_shard=1", "keep={luma: luma_mean >= 0}")
    command += ["--output", str(output), *(word for setting in settings for word in ("--set", setting))]
    done = subprocess.run(command, env=os.environ | {VARIABLE: fault}, capture_output=True, text=True)
    assert not (done.returncode and not fault), done.stderr
    return done.returncode


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("undisturbed")
    draw(root / "in", ["a", "b"])
    run(root, root / "run")
    return root


@pytest.mark.parametrize(
    "fault", ["pack-committed:1", *(pytest.param(f"{point}:2", marks=pytest.mark.slow) for point in PACKING)]
)
def test_after_a_kill_the_same_command_gives_the_same_bytes(undisturbed: Path, tmp_path: Path, fault: str):
    assert run(undisturbed, tmp_path / "run", fault) not in (0, 2)
    wanted = data_files(undisturbed / "run" / "dataset")
    assert data_files(tmp_path / "run" / "dataset").items() <= wanted.items()
    assert run(undisturbed, tmp_path / "run") == 0
    assert data_files(tmp_path / "run" / "dataset") == wanted
    assert verify(tmp_path / "run" / "dataset", frames=True) == []


@pytest.mark.slow
def test_a_driver_that_is_killed_while_it_publishes_is_continued(undisturbed: Path, tmp_path: Path):
    assert run(undisturbed, tmp_path / "run", "publish-plan:1") == -signal.SIGKILL
    assert run(undisturbed, tmp_path / "run") == 0
    assert data_files(tmp_path / "run" / "dataset") == data_files(undisturbed / "run" / "dataset")
