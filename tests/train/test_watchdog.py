import subprocess
import sys
import time

from train.watchdog import EXIT_CODE, StepWatchdog

HANGING = """
import time
from train.watchdog import StepWatchdog

def stuck_in_a_collective():
    time.sleep(60)

with StepWatchdog(0.5, 1).watch(7, "computing", ["clip-a", "clip-b"]):
    stuck_in_a_collective()
"""


def test_a_hanging_step_names_its_clips_shows_where_it_is_and_leaves():
    ended = subprocess.run([sys.executable, "-c", HANGING], capture_output=True, text=True, timeout=50, check=False)
    assert ended.returncode == EXIT_CODE
    assert "rank 1: step 7, computing, takes longer than" in ended.stderr
    assert "clips: clip-a, clip-b" in ended.stderr
    assert "in stuck_in_a_collective" in ended.stderr


def test_steps_in_time_go_on():
    watchdog = StepWatchdog(30.0, 0)
    begin_s = time.monotonic()
    for step in range(100):
        with watchdog.watch(step, "computing"):
            pass
    assert time.monotonic() - begin_s < 20  # nobody waited for the timeout
