"""Decoding strangers' clips in a child: a clip that hangs, crashes or bloats it is a damaged sample, never a dead run.

Clip and frames pass through memory that both processes map; only places, pts and picture facts go over the wire. Cost
over decoding in process: see docs/reading.md.
"""

import contextlib
import fcntl
import mmap
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shards.errors import ContractError, MediaError, StoreError
from shards.isolation.child import Child
from shards.plans.view import ViewConfig
from shards.reading.config import ChildLimits, ReadingConfig
from shards.reading.decode import PICTURE_COLUMNS, decode_frames, wanted_pts
from shards.reading.decode_op import frames_offset
from shards.reading.decode_process import UNDECODABLE

_STDERR_BYTES = 1 << 20  # all that it may write


class ClipDecoder:
    """Decodes clips here or in a child, as the configuration trusts them. One thread uses it."""

    def __init__(self, reading: ReadingConfig) -> None:
        self.reading = reading
        self._child: DecodeChild | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return ClipDecoder, (self.reading,)

    @property
    def child_pid(self) -> int | None:
        """Process id of the child, None while there is none."""
        return None if self._child is None else self._child.pid

    def decode(
        self, mp4: bytes, row: Mapping[str, Any], view: ViewConfig, generator: np.random.Generator | None
    ) -> np.ndarray:
        """See `shards.reading.decode.decode_clip`."""
        wanted_T = wanted_pts(row, view, generator)
        if is_trusted(row, self.reading):
            return decode_frames(mp4, wanted_T, row, view)
        if self._child is None:
            self._child = DecodeChild(self.reading.child)
        return self._child.decode(mp4, wanted_T, row, view)


def is_trusted(row: Mapping[str, Any], reading: ReadingConfig) -> bool:
    """Whether a clip is decoded in the loader's own process."""
    return reading.trust == "trusted" or (reading.trust == "auto" and row["cut_mode"] == "encode")


class DecodeChild:
    """A child that decodes clips."""

    def __init__(self, limits: ChildLimits) -> None:
        self.limits = limits
        self._fd = os.memfd_create("reelmill-clip", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        fcntl.fcntl(self._fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)  # a child must not pull it from under our feet
        self._memory: mmap.mmap | None = None
        settings = {"memory_bytes": limits.memory_bytes, "file_bytes": _STDERR_BYTES}
        folder = Path(tempfile.gettempdir())
        self._child = Child("shards.reading.decode_process", settings, folder, "reading.child", fds=(self._fd,))

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):  # half made
            self._child.close()
            os.close(self._fd)

    @property
    def pid(self) -> int | None:
        """Process id, None before the first clip and after a fault."""
        return self._child.pid

    def decode(self, mp4: bytes, wanted_T: Sequence[int], row: Mapping[str, Any], view: ViewConfig) -> np.ndarray:
        """See `shards.reading.decode.decode_frames`.

        Raises:
            ContractError: the clip does not decode, within its limits.
            StoreError: no child can be started here.
        """
        deadline = time.monotonic() + self.limits.deadline_s
        try:
            self._child.start(deadline)
        except MediaError as error:
            raise StoreError(f"decoding child is dead at its start; {error}; see reelmill doctor") from error
        offset = frames_offset(len(mp4))
        shape = (len(wanted_T), view.height, view.width, 3)
        memory = self._sized(offset + int(np.prod(shape)))
        memory[: len(mp4)] = mp4
        arguments = {
            "fd": self._fd,
            "memory_bytes": len(memory),
            "clip_bytes": len(mp4),
            "wanted": list(wanted_T),
            "row": {name: row[name] for name in PICTURE_COLUMNS if name in row},
            "view": view.resolved(),
        }
        try:
            request = {"op": "decode", "arguments": arguments, "cpu_s": self.limits.cpu_s}
            answer = self._child.ask("decode", request, deadline)
        except MediaError as error:
            raise _undecodable(row, f"{error} ({error.code})") from error
        if "error" in answer:
            if answer["error"]["code"] != UNDECODABLE:
                self._child.close()  # its state is in doubt
            raise _undecodable(row, answer["error"]["message"])
        return np.frombuffer(memory, np.uint8, int(np.prod(shape)), offset).reshape(shape).copy()

    def _sized(self, size: int) -> mmap.mmap:
        if self._memory is None or len(self._memory) < size:
            os.ftruncate(self._fd, size)
            self._memory = mmap.mmap(self._fd, size)
        return self._memory


def _undecodable(row: Mapping[str, Any], reason: str) -> ContractError:
    return ContractError(f"clip {row['key']} does not decode in the child; {reason}; rebuild or withdraw it")
