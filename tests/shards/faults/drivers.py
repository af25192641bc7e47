"""Real processes that write datasets: a server that forks one for every job, so that each starts in milliseconds.

Run as a program it reads jobs from its standard input, one JSON object a line, and answers each with a line.
"""

import contextlib
import json
import logging
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from shards import faults
from shards.format.commit import Commit, commit_shard
from shards.format.index import ROW
from shards.storage.store import Store, open_store
from shards.versions.append import append
from shards.versions.collect import collect
from shards.versions.compact import compact
from shards.versions.export import export
from shards.versions.hub import push
from shards.versions.manifest import Manifest, read_manifest
from shards.versions.publish import publish
from shards.versions.splits import SplitConfig
from shards.versions.withdraw import withdraw

PLAN_ID = "cd" * 32
SHARDS = (("a", "b"), ("c",))  # keys of the samples of each shard
NEXT = {2: ("d",), 3: ("e", "f")}  # those that are appended
REPO = "someone/clips"


def bare_rows(keys: Sequence[str], caption: str = "a square") -> pa.Table:
    """Rows whose clips nobody decodes: one frame of one second."""
    span = {"source_start_pts": 0, "source_end_pts": 1, "source_time_base_num": 1, "source_time_base_den": 1}
    frames = {"num_frames": 1, "frame_pts": [0], "time_base_num": 1, "time_base_den": 1, "duration_s": 1.0}
    rows = [{"key": key, "caption": caption, "video_id": f"of-{key}", **span, **frames} for key in keys]
    return pa.Table.from_pylist(rows, schema=ROW)


def commit_bare(root: str | Path | Store, scratch: Path, shard_no: int, keys: Sequence[str], caption: str) -> Commit:
    """One shard of clips that are a few bytes."""
    clips = [{"mp4": f"clip {key}".encode() * 100} for key in keys]
    return commit_shard(root, PLAN_ID, shard_no, "toy", bare_rows(keys, caption), clips, scratch)


def write_dataset(
    root: str | Path | Store, scratch: Path, shards: Mapping[int, Sequence[str]], caption: str = "a square"
) -> Manifest:
    """Commit shards and publish them."""
    commits = [commit_bare(root, scratch, number, keys, caption) for number, keys in shards.items()]
    return publish(root, commits, {}, SplitConfig(val=0))


def _append(root: str, scratch: Path) -> Manifest:
    return append(root, [commit_bare(root, scratch, number, keys, "a square") for number, keys in NEXT.items()])


def _withdraw(root: str, scratch: Path) -> Manifest:
    return withdraw(root, sources=["of-a"], reason="asked to", date="2026-01-02")


def _compact(root: str, scratch: Path) -> Manifest:
    return compact(root, scratch)


def _collect(root: str, scratch: Path) -> Manifest:
    collect(root, grace_s=0, keep_versions=1, delete=True, now_s=time.time() + 60)
    return read_manifest(open_store(root))


def _export(root: str, scratch: Path) -> Manifest:
    return export(root, f"{root}-export", scratch, shard_bytes=1)


def _push(root: str, scratch: Path) -> Manifest:
    push(root, REPO, create=True, scratch=scratch, endpoint=os.environ["HF_ENDPOINT"], shard_bytes=1)
    return read_manifest(open_store(root))


# What a job does after its shards are written, if it names one of these instead.
OPERATIONS: dict[str, Callable[[str, Path], Manifest]] = {
    "append": _append,
    "withdraw": _withdraw,
    "compact": _compact,
    "gc": _collect,
    "export": _export,
    "push": _push,
}


class Server:
    """Starts writers as processes of their own."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", __name__]
        environment = os.environ | {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def start(
        self,
        root: Path | str,
        scratch: Path,
        shards: Sequence[int] = (0, 1),
        fault: str = "",
        caption: str = "a square",
        file_limit: int | None = None,
        uid: int | None = None,
        environment: Mapping[str, str] | None = None,
        operation: str = "write",
    ) -> int:
        """Begin writing the named shards and publishing them, or another operation; gives the process's id.

        Args:
            root: of the dataset.
            scratch: folder for what is being built.
            shards: numbers in SHARDS.
            fault: point of `shards.faults`.
            caption: of every sample.
            file_limit: bytes beyond which the system refuses to make a file longer.
            uid: user to become.
            environment: variables to set.
            operation: write, or one of OPERATIONS.
        """
        limits = {"file_limit": file_limit, "uid": uid, "environment": dict(environment or {})}
        job = {"root": str(root), "scratch": str(scratch), "shards": list(shards), "fault": fault, "caption": caption}
        return int(self._ask(job | limits | {"operation": operation}))

    def wait(self, pid: int) -> dict[str, Any]:
        """How it ended or was paused: `version`, `signal`, `stopped`, `error` with `message`; its log is `said`."""
        return json.loads(self._ask({"wait": pid}))

    def run(self, root: Path | str, scratch: Path, **job: Any) -> dict[str, Any]:
        """Start and wait."""
        return self.wait(self.start(root, scratch, **job))

    def close(self) -> None:
        """End the server."""
        with contextlib.suppress(BrokenPipeError):
            self.process.communicate(timeout=10)

    def _ask(self, job: Mapping[str, Any]) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()


class _Listener(logging.Handler):
    """Keeps what a writer logs."""

    def __init__(self, said: list[str]) -> None:
        super().__init__(logging.WARNING)
        self.said = said

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


def serve() -> None:
    """Fork for every job."""
    bare_rows(["warm"])  # imports what pyarrow wants for it, once
    with contextlib.suppress(ImportError):
        import huggingface_hub.hf_api  # noqa: F401  likewise
    replies: dict[int, int] = {}
    for line in sys.stdin:
        job = json.loads(line)
        print(_wait(job["wait"], replies) if "wait" in job else _fork(job, replies), flush=True)


def _fork(job: Mapping[str, Any], replies: dict[int, int]) -> int:
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if pid:
        os.close(write_fd)
        replies[pid] = read_fd
        return pid
    said: list[str] = []
    logging.getLogger("shards").addHandler(_Listener(said))
    try:
        os.environ.update(job["environment"])
        faults.arm(job["fault"])
        _limit(job["file_limit"], job["uid"])
        if (operation := OPERATIONS.get(job["operation"])) is not None:
            manifest = operation(job["root"], Path(job["scratch"]))
        else:
            shards = {number: SHARDS[number] for number in job["shards"]}
            manifest = write_dataset(job["root"], Path(job["scratch"]), shards, job["caption"])
        answer: dict[str, Any] = {"version": manifest.version} | ({"said": said} if said else {})
    except Exception as error:
        answer = {"error": type(error).__name__, "message": str(error)}
    os.write(write_fd, json.dumps(answer).encode())
    os._exit(0)


def _limit(file_limit: int | None, uid: int | None) -> None:
    if file_limit is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
    if uid is not None and os.geteuid() == 0:
        os.setuid(uid)


def _wait(pid: int, replies: dict[int, int]) -> str:
    _, status = os.waitpid(pid, os.WUNTRACED)
    if os.WIFSTOPPED(status):
        return json.dumps({"stopped": True})
    with open(replies.pop(pid), "rb") as file:
        answer = file.read()
    return json.dumps({"signal": os.WTERMSIG(status)}) if os.WIFSIGNALED(status) else answer.decode()


def kill(pid: int) -> None:
    """End a process that sleeps."""
    os.kill(pid, signal.SIGKILL)


def resume(pid: int) -> None:
    """Let a paused process go on."""
    os.kill(pid, signal.SIGCONT)


def data_files(root: Path) -> dict[str, bytes]:
    """Every file of a dataset but what killed writers left beside."""
    return {path: data for path, data in _files(root) if not Path(path).name.startswith(".")}


def _files(root: Path) -> Iterator[tuple[str, bytes]]:
    for file in sorted(root.rglob("*")):
        if file.is_file():
            yield file.relative_to(root).as_posix(), file.read_bytes()


if __name__ == "__main__":
    serve()
