"""Worker processes that are killed: from outside, as a machine short of memory does it."""

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from curate.rundir import RunDir
from curate.tries import Tries
from shards.errors import MediaError
from tests.curate.tiny_runs import curated, draw
from tests.curate.videos import moving_square, write_video


def test_a_file_that_two_workers_died_over_is_not_tried_again(tmp_path: Path):
    for worker in ("first", "second"):
        with Tries(RunDir(tmp_path), worker).of("a.mp4"):
            assert Tries(RunDir(tmp_path)).blame(worker) == "a.mp4"  # while it works on it
            Tries(RunDir(tmp_path), worker)._note(worker).touch()
    with pytest.raises(MediaError, match=r"a\.mp4 killed the worker process.*tried 2 times") as caught:
        Tries(RunDir(tmp_path), "third").of("a.mp4").__enter__()
    assert caught.value.code == "worker_killed"
    with Tries(RunDir(tmp_path), "third").of("b.mp4"):
        pass
    assert Tries(RunDir(tmp_path)).blame("third") is None


@contextmanager
def killing(root: Path) -> Iterator[Counter[str]]:
    """Kill -9 every worker that begins a file named bad; counts the kills."""
    kills, over = Counter[str](), threading.Event()

    def watch() -> None:
        killed = set()
        while not over.is_set():
            for note in (root / "scratch" / "tries").glob("*.doing"):
                try:
                    found = json.loads(note.read_text())
                except (OSError, ValueError):
                    continue
                name = Path(found["item"]).stem
                if name.startswith("bad") and note.stem not in killed:
                    killed.add(note.stem)
                    kills[name] += 1
                    os.kill(found["pid"], signal.SIGKILL)
            time.sleep(0.001)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield kills
    finally:
        over.set()
        thread.join()


def run_with_killer(folder: Path, num_bad: int, num_good: int) -> None:
    draw(folder / "in", [f"good{number}" for number in range(num_good)])
    for number in range(num_bad):
        write_video(folder / "in" / f"bad{number}.mp4", moving_square(400, step_px=3 + number))  # long enough to be met
    with killing(folder / "run") as kills:
        result = curated(folder / "in", folder / "run", run={"workers": 2, "part_videos": 4})
    assert kills == {f"bad{number}": 2 for number in range(num_bad)}
    videos = pq.read_table(result.run_dir.catalog("videos")).to_pylist()
    codes = {Path(row["uri"]).stem: row["error"] for row in videos if row["status"] == "failed"}
    assert codes == dict.fromkeys(kills, "worker_killed")
    statuses = Counter(pq.read_table(result.run_dir.catalog("clips"))["status"].to_pylist())
    assert statuses == {"kept": num_good}
    assert result.problems == []
    assert not (folder / "run" / "scratch").exists()


def test_a_run_goes_on_when_its_workers_are_killed(tmp_path: Path):
    run_with_killer(tmp_path, 2, 4)


@pytest.mark.slow
def test_a_run_over_thirty_files_that_kill_workers_and_thirty_good_ones_keeps_the_thirty(tmp_path: Path):
    run_with_killer(tmp_path, 30, 30)
