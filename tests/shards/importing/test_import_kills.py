"""An import killed (-9) between its steps: the same command again gives the same dataset, byte for byte."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shards.faults import VARIABLE
from shards.versions.verify import verify
from tests.shards.faults.drivers import data_files


def run(root: Path, out: Path, fault: str = "") -> int:
    """Exit code of the command in a process of its own; three clips, of which two share a shard."""
    command = [sys.executable, "-m", "reelmill", "shards", "import", str(root / "list.csv"), str(out), "--kind", "csv"]
    done = subprocess.run(command, env=os.environ | {VARIABLE: fault}, capture_output=True, text=True)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, clips: list[bytes]) -> Path:
    root = tmp_path_factory.mktemp("import")
    for number in (0, 1, 4):
        (root / f"v{number}.mp4").write_bytes(clips[number])
    (root / "list.csv").write_text("path,text\nv0.mp4,one\nv1.mp4,two\nv4.mp4,three\n")
    assert run(root, root / "undisturbed") == 0
    return root


@pytest.mark.parametrize(
    "fault",
    [
        "import-shard:1",
        *(pytest.param(fault, marks=pytest.mark.slow) for fault in ("import-probed:1", "import-shard:2")),
    ],
)
def test_after_a_kill_the_same_command_gives_the_same_bytes(source: Path, tmp_path: Path, fault: str):
    assert run(source, tmp_path / "out", fault) == -signal.SIGKILL
    wanted = data_files(source / "undisturbed")
    assert data_files(tmp_path / "out").items() <= wanted.items()
    assert run(source, tmp_path / "out") == 0
    assert data_files(tmp_path / "out") == wanted
    assert verify(tmp_path / "out", frames=True) == []
