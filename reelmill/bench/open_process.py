"""A fresh process that opens a version, plans it and reads one batch at a far step; its last line is one JSON object.

Memory is what the plan adds to the anonymous memory of the process (what is mapped from the plan index is the page
cache's, and goes when others need it), and the most that a second thread sees of it while the plan is made.
"""

import json
import sys
import threading
import time
from pathlib import Path

from reelmill.bench.readers.reading import evict
from shards.plans.plan import PlanConfig
from shards.plans.view import ViewConfig
from shards.reading.reader import open_dataset

EPOCH, FRAMES_SHOWN = 3, 8
_WATCH_S = 0.002


def main(folder: Path, is_cold: bool) -> None:
    """Measure and print."""
    if is_cold:
        evict(folder / "manifests")
    before_s, before_cpu_s = time.perf_counter(), time.process_time()
    dataset = open_dataset(folder)
    opened_s, opened_cpu_s = time.perf_counter(), time.process_time()
    before_mb = anonymous_mb()
    with Peak() as peak:
        plan = dataset.plan(PlanConfig(seed=1), ViewConfig(num_frames=FRAMES_SHOWN))
        step = plan.steps_per_epoch * 2 // 3
        batch = plan.batch(EPOCH, step)
        planned_s, planned_cpu_s = time.perf_counter(), time.process_time()
    for sample_id in batch.ids_B.tolist():
        dataset.read_array(sample_id, "latent.npy")
    found = {
        "open_s": opened_s - before_s,
        "open_cpu_s": opened_cpu_s - before_cpu_s,
        "plan_s": planned_s - opened_s,
        "plan_cpu_s": planned_cpu_s - opened_cpu_s,
        "resume_s": time.perf_counter() - opened_s,
        "plan_memory_mb": anonymous_mb() - before_mb,
        "plan_peak_mb": peak.most_mb - before_mb,
    }
    print(json.dumps(found))


def anonymous_mb() -> float:
    """Resident memory of this process that no file is behind."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["RssAnon"].split()[0]) / 1e3


class Peak:
    """The most anonymous memory while a block runs."""

    def __init__(self) -> None:
        self.most_mb = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "Peak":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(_WATCH_S):
            self.most_mb = max(self.most_mb, anonymous_mb())


if __name__ == "__main__":
    main(Path(sys.argv[1]), "--cold" in sys.argv[2:])
