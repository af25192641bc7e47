"""The safe child process: only it opens strangers' bytes, never a worker and never the driver.

A worker holds one `MediaChild` over many videos. Each call is a named function with JSON arguments and a JSON result;
big arrays go through files in the scratch folder. Whatever the child does (hang, crash, eat memory), the call ends by
its deadline with a `MediaError` of a stable code, and the next call gets a fresh child.
"""

import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from pydantic import Field

from curate.media.opening import DEMUXERS, MAX_PIXELS
from shards.config import Config
from shards.errors import MediaError, StoreError
from shards.isolation.child import Child

# After these the child's own state is in doubt, so the next call gets another one.
_FAULTS = ("out_of_memory", "unexpected_error")


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


class MediaChild:
    """A child process that probes, scans, cuts and verifies; started at the first call, replaced after a fault."""

    def __init__(self, config: MediaConfig, scratch: Path) -> None:
        self.config = config
        self.scratch = scratch.resolve()
        self.usage = MediaUsage()
        self._child = Child("curate.media.process", _settings(config), self.scratch, "media.limits")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """Process id, None before the first call and after a fault."""
        return self._child.pid

    @property
    def network(self) -> str | None:
        """What the child can reach: none, or host where the kernel refuses a network namespace; None before a call."""
        return self._child.hello["network"] if self._child.pid else None

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
        self.scratch.mkdir(parents=True, exist_ok=True)
        try:
            if self._child.start(deadline):
                self.usage.start_cpu_s += self._child.hello["start_cpu_s"]
        finally:
            self.usage.num_starts = self._child.num_starts
        request = {"op": op, "arguments": json_arguments, "cpu_s": self.config.limits.cpu_s}
        return self._result(op, self._child.ask(op, request, deadline))

    def close(self) -> None:
        """Kill the child's process group; a next call would start another child."""
        self._child.close()

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


def _settings(config: MediaConfig) -> dict[str, Any]:
    limits = config.limits
    rules = {"demuxers": config.demuxers, "max_pixels": limits.max_pixels, "ffmpeg": config.ffmpeg}
    return {"memory_bytes": limits.memory_bytes, "file_bytes": limits.file_bytes, "rules": rules}
