"""`ray_over_local`: what the Ray executor costs beside the local one, start-up apart.

Both run `curate run curate/scan_only` with two workers on two videos of 60 s, a part each, and once more on two tiny
ones, which is the start-up that is taken off. Counted are the driver, the workers and their media processes. Ray's own
daemons (GCS, raylet, dashboard, agents, log monitor) are counted apart: they cost by the second and not by the video.
"""

import shutil
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reelmill.bench.process_tree import WORK, TreeCost, run_tree
from reelmill.bench.processes import cache_folder
from reelmill.bench.scan import made_tiny, pinned_video

DAEMON = "ray daemons"
_DAEMONS = (
    "gcs_server", "raylet/raylet", "ray/dashboard/", "ray-dashboard", "log_monitor.py", "autoscaler", "monitor.py",
    "ray_process_reaper", "dashboard/agent.py", "runtime_env/agent",
)  # fmt: skip
EXECUTORS = ("local", "ray")


@dataclass(frozen=True)
class RayCost:
    """CPU seconds by executor, one number a pass.

    Attributes:
        work_s: of the videos, start-up taken off.
        start_up_s: of the tiny run.
        daemons_s: of Ray's daemons over the long run.
        wall_s: of the long run.
    """

    work_s: dict[str, list[float]]
    start_up_s: dict[str, list[float]]
    daemons_s: list[float]
    wall_s: dict[str, list[float]]

    @property
    def ray_over_local(self) -> float:
        """Median over the passes."""
        pairs = zip(self.work_s["ray"], self.work_s["local"], strict=True)
        return statistics.median(ray / local for ray, local in pairs)


def kind_of(command: str) -> str:
    """Whether a process is one of Ray's daemons or does our work."""
    return DAEMON if any(word in command for word in _DAEMONS) else WORK


def measure_ray(folder: Path, passes: int = 3) -> RayCost:
    """Run both executors in turn, so often."""
    folder.mkdir(parents=True, exist_ok=True)
    long, tiny = _twins(folder / "long", pinned_video(cache_folder())), _twins(folder / "tiny", made_tiny(folder))
    cost = RayCost({name: [] for name in EXECUTORS}, {name: [] for name in EXECUTORS}, [], {n: [] for n in EXECUTORS})
    for number in range(passes):
        for executor in EXECUTORS:
            output = folder / f"{executor}{number}"
            start_up = _curate(executor, tiny, output / "tiny")
            whole = _curate(executor, long, output / "long")
            cost.start_up_s[executor].append(start_up.cpu_s[WORK])
            cost.work_s[executor].append(whole.cpu_s[WORK] - start_up.cpu_s[WORK])
            cost.wall_s[executor].append(whole.wall_s)
            if executor == "ray":
                cost.daemons_s.append(whole.cpu_s.get(DAEMON, 0.0))
            shutil.rmtree(output)
    return cost


def _curate(executor: str, videos: Sequence[Path], output: Path) -> TreeCost:
    output.parent.mkdir(parents=True, exist_ok=True)
    rules = ("motion", "light", "contrast", "sharpness", "borders")
    values = [f"run.executor={executor}", "run.workers=2", "run.part_videos=1", "run.ray_dashboard_host=null"]
    values += [*(f"keep.{rule}=null" for rule in rules), "scenes.min_clip_s=0.5", "pack.samples_per_shard=8"]
    sets = [word for value in values for word in ("--set", value)]
    command = [sys.executable, "-m", "reelmill", "curate", "run", "curate/scan_only", *videos, "--output", output]
    return run_tree([*command, *sets], output.parent / f"{output.name}.log", kind_of)


def _twins(folder: Path, source: Path) -> list[Path]:
    """Two videos of the same frames and other bytes, so that neither is the other's duplicate."""
    folder.mkdir(parents=True)
    twins = [folder / f"{number}.mp4" for number in range(2)]
    for number, path in enumerate(twins):
        shutil.copyfile(source, path)
        with path.open("ab") as file:  # a box of MP4 that says nothing
            file.write((12).to_bytes(4, "big") + b"free" + number.to_bytes(4, "big"))
    return twins
