"""A process killed (-9) at any step of writing and publishing: the same command again gives the same bytes."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shards.errors import ConfigError
from shards.faults import COMMITTING, HINT, OBJECT, PUBLISHING, VARIABLE, WRITING, arm
from shards.versions.verify import verify
from tests.shards.faults.drivers import Server, data_files

KILLED = {"signal": signal.SIGKILL}
POINTS = (*WRITING, *OBJECT, *COMMITTING, *PUBLISHING, *HINT)  # those that writing and publishing pass


def killed_and_rerun(server: Server, folder: Path, fault: str, undisturbed: dict[str, bytes]) -> bool:
    """Whether the process reached the fault; proves what must hold after it either way."""
    folder.mkdir()
    first = server.run(folder / "dataset", folder, fault=fault)
    assert first in (KILLED, {"version": 1})
    survived = data_files(folder / "dataset")
    assert survived.items() <= undisturbed.items()  # whatever has a name is whole
    assert server.run(folder / "dataset", folder) == {"version": 1}
    assert data_files(folder / "dataset") == undisturbed
    assert {problem.code for problem in verify(folder / "dataset")} <= {"leftover"}
    return first == KILLED


@pytest.mark.parametrize("point", POINTS)
def test_after_a_kill_at_a_point_a_rerun_gives_the_same_bytes(
    server: Server, tmp_path: Path, undisturbed: dict[str, bytes], point: str
):
    assert killed_and_rerun(server, tmp_path / "run", f"{point}:1", undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_after_a_kill_at_any_passage_of_a_point_a_rerun_gives_the_same_bytes(
    server: Server, tmp_path: Path, undisturbed: dict[str, bytes], point: str
):
    number = 1
    while killed_and_rerun(server, tmp_path / str(number), f"{point}:{number}", undisturbed):
        number += 1
    assert number > 2 or point.startswith("publish")


@pytest.mark.slow
def test_kill_after_kill_the_run_comes_to_its_end(server: Server, tmp_path: Path, undisturbed: dict[str, bytes]):
    """Every rerun is killed as well, one point further; what is there only grows."""
    before: dict[str, bytes] = {}
    for point in POINTS:
        server.run(tmp_path / "dataset", tmp_path, fault=f"{point}:1")
        files = data_files(tmp_path / "dataset")
        assert before.items() <= files.items() <= undisturbed.items()
        before = files
    assert server.run(tmp_path / "dataset", tmp_path) == {"version": 1}
    assert data_files(tmp_path / "dataset") == undisturbed


def test_the_environment_names_the_fault():
    code = "from shards.faults import reached; reached('commit-tar'); print('once'); reached('commit-tar'); print('no')"
    done = subprocess.run(
        [sys.executable, "-u", "-c", code], env={VARIABLE: "commit-tar:2"}, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "once\n")


@pytest.mark.parametrize("fault", ["nowhere:1", "commit-tar", "commit-tar:0", "commit-tar:1:go"])
def test_a_fault_that_does_not_exist_is_refused(fault: str):
    with pytest.raises(ConfigError, match="REELMILL_FAULT is"):
        arm(fault)
