"""Two nodes of one CPU each on this machine, and a log that workers write of what they begin."""

import os
import secrets
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
import ray._raylet
from ray.cluster_utils import Cluster

LOG, SLOW_S = "REELMILL_TEST_LOG", 0.6
NODE: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80 << 20}


def note_work() -> None:
    """Run in every worker process of the tests: each scan and cut is noted when it begins, slowed if the test asks."""
    import curate.pack
    import curate.worker

    scan, cut, log = curate.worker.scan_video, curate.pack.cut_clip, Path(os.environ[LOG])

    def note(what: str, key: str) -> None:
        with log.open("a") as file:
            file.write(f"{what} {key} {os.getpid()}\n")
        if log.with_suffix(".slow").is_file():
            time.sleep(SLOW_S)

    def scan_video(child: Any, row: Any, *arguments: Any) -> Any:
        note("scan", Path(row["uri"]).stem)
        return scan(child, row, *arguments)

    def cut_clip(child: Any, source: Path, video: Any, clip: Any, *arguments: Any) -> Any:
        note("cut", clip["clip_id"])
        return cut(child, source, video, clip, *arguments)

    curate.worker.scan_video, curate.pack.cut_clip = scan_video, cut_clip


def noting(log: Path) -> dict[str, Any]:
    """The runtime_env whose workers write the log."""
    variables = {LOG: str(log), "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    return {"worker_process_setup_hook": "tests.curate.ray_cluster.note_work", "env_vars": variables}


class TwoNodes:
    """The cluster that the tests share, and the log of its workers."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "work.log"
        self.cluster = Cluster(
            initialize_head=True,
            head_node_args={
                **NODE,
                "dashboard_host": "127.0.0.1",
                "dashboard_port": 0,
                "_system_config": {"metrics_report_interval_ms": 500},
            },
        )
        self.second: Any = None
        self.with_second()
        ray.init(
            address=self.cluster.address,
            runtime_env=noting(self.log),
            log_to_driver=False,
            configure_logging=False,
        )

    def with_second(self) -> None:
        """Make sure that the second node is there."""
        if self.second is None:
            self.second = self.cluster.add_node(**NODE)

    def kill_second(self) -> None:
        """Kill -9 the second node's raylet; its workers end with it."""
        node, self.second = self.second, None
        os.kill(node.all_processes["raylet"][0].process.pid, signal.SIGKILL)
        self.cluster.worker_nodes.discard(node)

    def clear(self) -> None:
        """Forget what was begun."""
        self.log.write_text("")

    def begun(self) -> list[tuple[str, str, int]]:
        """What was begun since: `scan` or `cut`, its key, the process."""
        lines = self.log.read_text().splitlines() if self.log.is_file() else []
        return [(what, key, int(pid)) for what, key, pid in (line.split() for line in lines)]

    def redone(self) -> int:
        """Times that something was begun again."""
        counts = Counter((what, key) for what, key, _ in self.begun())
        return sum(counts.values()) - len(counts)

    @contextmanager
    def slowly(self) -> Iterator[None]:
        """Each scan and cut takes longer, so that a kill meets it at work."""
        slow = self.log.with_suffix(".slow")
        slow.touch()
        try:
            yield
        finally:
            slow.unlink()

    @contextmanager
    def after(self, number: int, what: str, act: Callable[[int], object]) -> Iterator[list[int]]:
        """Call `act` with the process that begins the `number`-th scan or cut; yields the list it is then in."""
        acted: list[int] = []
        is_over = threading.Event()

        def watch() -> None:
            while not is_over.wait(0.02):
                pids = [pid for kind, _, pid in self.begun() if kind == what]
                if len(pids) >= number:
                    act(pids[number - 1])
                    acted.append(pids[number - 1])
                    return

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield acted
        finally:
            is_over.set()
            thread.join()


@contextmanager
def two_nodes(folder: Path) -> Iterator[TwoNodes]:
    """Start the cluster with a token; stop it afterwards.

    The token stays in the environment: Ray reads it once in the life of a process, and later clusters need the same.
    """
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    ray.shutdown()
    raylet: Any = ray._raylet
    raylet.Config.initialize("")  # Ray reads the mode at its import, which may be long ago
    nodes = TwoNodes(folder)
    try:
        yield nodes
    finally:
        ray.shutdown()
        nodes.cluster.shutdown()
