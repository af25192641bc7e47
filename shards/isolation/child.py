"""A child process that touches strangers' bytes for a worker: started when needed, killed by a deadline, replaced.

What it runs is a module whose main is `serving.serve_as_child`. Whatever the child does (hang, crash, eat
memory), a call ends by its deadline with a `MediaError` of a stable code, and the next call gets a fresh child.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from shards.errors import MediaError
from shards.isolation.wire import Channel, ChannelClosed, ChannelTimeout

_STDERR_TAIL_BYTES = 500
_PACKAGES = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class _Process:
    popen: subprocess.Popen[bytes]
    channel: Channel
    stderr: IO[bytes]


class Child:
    """One child at a time.

    Args:
        module: what it runs, by name.
        settings: JSON-like; `memory_bytes` and `file_bytes` are its limits, the rest is the module's.
        folder: where it runs, existing; also its HOME and TMPDIR.
        limits: name of the configuration that bounds it, for messages.
        fds: file descriptors that it inherits under the same numbers.

    Attributes:
        num_starts: children started; more than 1 means that some were replaced.
        hello: what the newest child said of itself: network, start_cpu_s.
    """

    def __init__(
        self, module: str, settings: Mapping[str, Any], folder: Path, limits: str, fds: Sequence[int] = ()
    ) -> None:
        self.module, self.settings, self.folder, self.limits, self.fds = module, settings, folder, limits, fds
        self.num_starts = 0
        self.hello: Mapping[str, Any] = {}
        self._process: _Process | None = None

    @property
    def pid(self) -> int | None:
        """Process id, None before the first start and after a fault."""
        return self._process.popen.pid if self._process else None

    def start(self, deadline: float) -> bool:
        """Make sure that a child runs; True if it was started now.

        Raises:
            MediaError: it does not come up.
        """
        if self._process is not None and not _has_ended(self._process.popen.pid):
            return False
        self.close()
        self.num_starts += 1
        process = self._process = self._spawn()
        try:
            self.hello = process.channel.receive(deadline)
        except ChannelTimeout:
            self.close()
            raise MediaError(f"child does not start in time; raise {self.limits}.deadline_s", "deadline") from None
        except ChannelClosed:
            raise self._death("start") from None
        return True

    def ask(self, op: str, request: Mapping[str, Any], deadline: float) -> dict[str, Any]:
        """The started child's answer to one request.

        Args:
            op: what is asked for, for messages.
            request: see `shards.isolation.serving`.
            deadline: of `time.monotonic()`.

        Raises:
            MediaError: `deadline`, `cpu_limit` or `child_killed`.
        """
        assert self._process is not None
        try:
            self._process.channel.send(request, deadline)
            return self._process.channel.receive(deadline)
        except ChannelTimeout:
            said = _last_words(self._process)
            self.close()
            told = f"{op} takes too long and is killed by the deadline; {said}; raise {self.limits}"
            raise MediaError(told, "deadline") from None
        except ChannelClosed:
            raise self._death(op) from None

    def close(self) -> None:
        """Kill the child's process group; a next start would make another child."""
        process, self._process = self._process, None
        if process is not None:
            _kill(process)

    def _spawn(self) -> _Process:
        child_read, our_write = os.pipe()
        our_read, child_write = os.pipe()
        stderr = tempfile.TemporaryFile()  # noqa: SIM115  closed with the process
        settings = json.dumps({**self.settings, "parent_pid": os.getpid()})
        popen = subprocess.Popen(
            [sys.executable, "-P", "-m", self.module, str(child_read), str(child_write), settings],
            pass_fds=(child_read, child_write, *self.fds),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            cwd=self.folder,
            env=_environment(self.folder),
            start_new_session=True,  # a group of its own: a kill reaches what it may have started
        )
        os.close(child_read)
        os.close(child_write)
        return _Process(popen, Channel(our_read, our_write), stderr)

    def _death(self, op: str) -> MediaError:
        """What to say of a child that closed its pipe: only the end of its process does, so its status is settled."""
        process, self._process = self._process, None
        assert process is not None
        _signal_group(process)
        status = process.popen.wait()
        said = _last_words(process)
        _kill(process)
        code = "cpu_limit" if status == -signal.SIGXCPU else "child_killed"
        how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        return MediaError(f"{op} ended its process by {how}; {said}; the file is at fault", code)


def _last_words(process: _Process) -> str:
    """The end of what a child wrote to its standard error."""
    process.stderr.seek(max(0, process.stderr.seek(0, os.SEEK_END) - _STDERR_TAIL_BYTES))
    return " ".join(process.stderr.read().decode(errors="replace").split()) or "it said nothing"


def _environment(folder: Path) -> dict[str, str]:
    """Nothing of the worker's environment: no credentials, no proxy, no library switches."""
    threads = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    folders = {"PYTHONPATH": str(_PACKAGES), "HOME": str(folder), "TMPDIR": str(folder)}
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
