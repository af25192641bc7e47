"""Ctrl-C, as a terminal sends it: to the command and all its workers at once."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.curate.tiny_runs import draw


def test_ctrl_c_ends_a_run_with_one_sentence_and_the_same_command_goes_on(tmp_path: Path):
    draw(tmp_path / "in", [f"video {number}" for number in range(12)])
    command = [sys.executable, "-m", "reelmill", "curate", "run", "curate/scan_only", str(tmp_path / "in")]
    command += ["--output", str(tmp_path / "run"), "--set", "run.workers=2", "--set", "run.part_videos=1"]
    command += ["--set", "scenes.min_clip_s=0.5", "--set", "keep={luma: luma_mean >= 0}"]
    with subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, text=True) as run:
        assert run.stderr is not None
        assert run.stderr.readline().startswith("scan: 0/12")
        os.killpg(run.pid, signal.SIGINT)
        said = run.stderr.read()
    assert run.returncode == 130
    assert said == "interrupted; what is finished is kept; run the same command again to go on\n"
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
