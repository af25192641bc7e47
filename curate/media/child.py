"""The safe child process: only it opens strangers' bytes, never a worker and never the driver.

A worker holds one `MediaChild` over many videos. Each call is a named function with JSON arguments and a JSON result;
big arrays go through files in the scratch folder. Whatever the child does (hang, crash, eat memory), the call ends by
its deadline with a `MediaError` of a stable code, and the next call gets a fresh child.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Self

from pydantic import Field

from curate.media.opening import DEMUXERS, MAX_PIXELS
from curate.media.wire import Channel, ChannelClosed, ChannelTimeout
from shards.config import Config
from shards.errors import MediaError, StoreError

# After these the child's own state is in doubt, so the next call gets another one.
_FAULTS = ("out_of_memory", "unexpected_error")
_STDERR_TAIL_BYTES = 500
_PACKAGES = Path(__file__).resolve().parents[2]


class MediaLimits(Config):
    """What one call may cost at most."""

    memory_bytes: int = Field(default=3 << 30, ge=512 << 20, description="Address space of the child (RLIMIT_AS).")
    cpu_s: float = Field(default=3600.0, gt=0, description="CPU seconds of one call (RLIMIT_CPU).")
    file_bytes: int = Field(default=32 << 30, gt=0, description="Size of a file that it writes (RLIMIT_FSIZE).")
    max_pixels: int = Field(default=MAX_PIXELS, gt=0, description="Pixels of one picture; more is refused unread.")
    deadline_s: float = Field(default=300.0, gt=0, description="Wall-clock seconds of a call without its own.")


class MediaConfig(Config):
    """How media from strangers is opened."""

    ffmpeg: str | None = Field(
        default=None, description="Path of a system ffmpeg; null for the wheel imageio-ffmpeg's."
    )
    limits: MediaLimits = MediaLimits()
    demuxers: tuple[str, ...] = Field(
        default=DEMUXERS, description="FFmpeg's demuxers allowed; none may follow other files."
    )


@dataclass
class MediaUsage:
    """What a worker's media children have cost so far.

    Attributes:
        num_calls: calls answered or failed.
        num_starts: children started; more than 1 means that some were replaced.
        cpu_s: CPU seconds of answered calls, start-up not counted.
        start_cpu_s: CPU seconds of starting the children and importing what their ops need.
        max_rss_bytes: largest resident set of a child.
        decoded_frames: by op, as far as its result tells.
    """

    num_calls: int = 0
    num_starts: int = 0
    cpu_s: float = 0.0
    start_cpu_s: float = 0.0
    max_rss_bytes: int = 0
    decoded_frames: Counter[str] = field(default_factory=Counter)

    def add(self, cpu_s: float, start_cpu_s: float, max_rss_bytes: int) -> None:
        """Count one answered call."""
        self.cpu_s += cpu_s
        self.start_cpu_s += start_cpu_s
        self.max_rss_bytes = max(self.max_rss_bytes, max_rss_bytes)


@dataclass(frozen=True)
class _Process:
    popen: subprocess.Popen[bytes]
    channel: Channel
    stderr: IO[bytes]
    network: str
    start_cpu_s: float


class MediaChild:
    """A child process that probes, scans, cuts and verifies; started at the first call, replaced after a fault."""

    def __init__(self, config: MediaConfig, scratch: Path) -> None:
        self.config = config
        self.scratch = scratch.resolve()
        self.usage = MediaUsage()
        self._process: _Process | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """Process id, None before the first call and after a fault."""
        return self._process.popen.pid if self._process else None

    @property
    def network(self) -> str | None:
        """What the child can reach: none, or host where the kernel refuses a network namespace; None before a call."""
        return self._process.network if self._process else None

    def call(self, op: str, deadline_s: float | None = None, **json_arguments: Any) -> dict[str, Any]:
        """Run one op of `curate.media.process.OPS` in the child.

        Args:
            op: its name.
            deadline_s: wall-clock seconds, child start included; default `limits.deadline_s`.
            **json_arguments: the function's arguments.

        Returns:
            The function's result.

        Raises:
            MediaError: with the code of what is wrong with the file, or `deadline`, `cpu_limit`, `out_of_memory`,
                `child_killed`, `unexpected_error`.
            StoreError: the scratch folder is full: no fault of the file.
        """
        deadline = time.monotonic() + (self.config.limits.deadline_s if deadline_s is None else deadline_s)
        self.usage.num_calls += 1
        process = self._started(deadline)
        request = {"op": op, "arguments": json_arguments, "cpu_s": self.config.limits.cpu_s}
        try:
            process.channel.send(request, deadline)
            answer = process.channel.receive(deadline)
        except ChannelTimeout:
            self.close()
            raise MediaError(f"{op} takes too long; the deadline kills it; raise media.limits", "deadline") from None
        except ChannelClosed:
            raise self._died(op) from None
        return self._result(op, answer)

    def close(self) -> None:
        """Kill the child's process group; a next call would start another child."""
        process, self._process = self._process, None
        if process is not None:
            _kill(process)

    def _started(self, deadline: float) -> _Process:
        if self._process is not None and not _has_ended(self._process.popen.pid):
            return self._process
        self.close()
        self.usage.num_starts += 1
        self._process = _start(self.config, self.scratch, deadline)
        self.usage.start_cpu_s += self._process.start_cpu_s
        return self._process

    def _result(self, op: str, answer: dict[str, Any]) -> dict[str, Any]:
        self.usage.add(**answer["usage"])
        if "error" not in answer:
            self.usage.decoded_frames[op] += answer["result"].get("decoded_frames", 0)
            return answer["result"]
        error = answer["error"]
        if error["code"] in _FAULTS:
            self.close()
        if error["code"] == "disk_full":
            raise StoreError(f"scratch folder {self.scratch} is full; {error['message']}; free space and rerun")
        raise MediaError(error["message"], error["code"])

    def _died(self, op: str) -> MediaError:
        process, self._process = self._process, None
        assert process is not None
        return _death(op, process)


def _start(config: MediaConfig, scratch: Path, deadline: float) -> _Process:
    scratch.mkdir(parents=True, exist_ok=True)
    child_read, our_write = os.pipe()
    our_read, child_write = os.pipe()
    stderr = tempfile.TemporaryFile()  # noqa: SIM115  closed with the process
    popen = subprocess.Popen(
        [sys.executable, "-P", "-m", "curate.media.process", str(child_read), str(child_write), _settings(config)],
        pass_fds=(child_read, child_write),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        cwd=scratch,
        env=_environment(scratch),
        start_new_session=True,  # a group of its own: a kill reaches the ffmpeg that it may have started
    )
    os.close(child_read)
    os.close(child_write)
    process = _Process(popen, Channel(our_read, our_write), stderr, "", 0.0)
    try:
        hello = process.channel.receive(deadline)
    except ChannelTimeout:
        _kill(process)
        raise MediaError("media child does not start in time; raise media.limits.deadline_s", "deadline") from None
    except ChannelClosed:
        raise _death("start", process) from None
    return _Process(popen, process.channel, stderr, hello["network"], hello["start_cpu_s"])


def _settings(config: MediaConfig) -> str:
    limits = config.limits
    rules = {"demuxers": config.demuxers, "max_pixels": limits.max_pixels, "ffmpeg": config.ffmpeg}
    values = {"memory_bytes": limits.memory_bytes, "file_bytes": limits.file_bytes, "parent_pid": os.getpid()}
    return json.dumps(values | {"rules": rules})


def _environment(scratch: Path) -> dict[str, str]:
    """Nothing of the worker's environment: no credentials, no proxy, no library switches."""
    threads = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    folders = {"PYTHONPATH": str(_PACKAGES), "HOME": str(scratch), "TMPDIR": str(scratch)}
    return {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"} | threads | folders


def _kill(process: _Process) -> None:
    if process.popen.returncode is None:  # not reaped, so the id is still its own
        _signal_group(process)
        process.popen.wait()
    process.channel.close()
    process.stderr.close()


def _signal_group(process: _Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.popen.pid, signal.SIGKILL)


def _has_ended(pid: int) -> bool:
    """Whether a child has ended; it is left unreaped, so that its id cannot become another's."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _death(op: str, process: _Process) -> MediaError:
    """What to say of a child that closed its pipe: only the end of its process does that, so its status is settled."""
    _signal_group(process)
    status = process.popen.wait()
    process.stderr.seek(max(0, process.stderr.seek(0, os.SEEK_END) - _STDERR_TAIL_BYTES))
    said = " ".join(process.stderr.read().decode(errors="replace").split())
    _kill(process)
    code = "cpu_limit" if status == -signal.SIGXCPU else "child_killed"
    how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
    return MediaError(f"{op} ended its process by {how}; {said or 'it said nothing'}; the file is at fault", code)
