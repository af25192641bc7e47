"""Messages between a worker and its child: length-prefixed JSON over a pair of pipes, never pickle.

Both ends trust nothing about the other's timing: sending and receiving stop at a deadline, and a message longer than
`MAX_MESSAGE_BYTES` is refused before memory is taken for it.
"""

import json
import os
import select
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MAX_MESSAGE_BYTES = 64 << 20
_LENGTH = struct.Struct(">I")
_CHUNK_BYTES = 1 << 16


class ChannelClosed(Exception):
    """The other end is gone, or what it sent is no message."""


class ChannelTimeout(Exception):
    """The deadline passed before the message was through."""


@dataclass(frozen=True)
class Channel:
    """One end of a pair of pipes; `deadline` is a value of `time.monotonic()`, or None to wait for ever."""

    read_fd: int
    write_fd: int

    def send(self, message: Mapping[str, Any], deadline: float | None = None) -> None:
        """Write one message.

        Raises:
            ChannelClosed: the other end is gone.
            ChannelTimeout: it does not read.
        """
        # ASCII with escapes: carries the lone surrogates of names that are not UTF-8.
        payload = json.dumps(message, ensure_ascii=True, allow_nan=False).encode()
        if len(payload) > MAX_MESSAGE_BYTES:
            raise ValueError(f"message has {len(payload)} bytes; {MAX_MESSAGE_BYTES} are allowed; pass a file instead")
        data = memoryview(_LENGTH.pack(len(payload)) + payload)
        while data:
            _wait(self.write_fd, select.POLLOUT, deadline)
            try:
                # At most PIPE_BUF bytes never block once poll() has said that the pipe is writable.
                data = data[os.write(self.write_fd, data[: select.PIPE_BUF]) :]
            except BrokenPipeError as error:
                raise ChannelClosed("pipe is closed") from error

    def receive(self, deadline: float | None = None) -> dict[str, Any]:
        """Read one message.

        Raises:
            ChannelClosed: the other end is gone, or sent what is no message.
            ChannelTimeout: nothing came in time.
        """
        (length,) = _LENGTH.unpack(self._read(_LENGTH.size, deadline))
        if length > MAX_MESSAGE_BYTES:
            raise ChannelClosed(f"message announces {length} bytes; {MAX_MESSAGE_BYTES} are allowed")
        try:
            message = json.loads(self._read(length, deadline))
        except ValueError as error:
            raise ChannelClosed("message is not JSON") from error
        if not isinstance(message, dict):
            raise ChannelClosed(f"message is a {type(message).__name__}; an object is allowed")
        return message

    def close(self) -> None:
        """Close both pipes."""
        os.close(self.read_fd)
        os.close(self.write_fd)

    def _read(self, num_bytes: int, deadline: float | None) -> bytes:
        data = bytearray()
        while len(data) < num_bytes:
            _wait(self.read_fd, select.POLLIN, deadline)
            chunk = os.read(self.read_fd, min(_CHUNK_BYTES, num_bytes - len(data)))
            if not chunk:
                raise ChannelClosed("pipe is closed")
            data += chunk
        return bytes(data)


def _wait(fd: int, event: int, deadline: float | None) -> None:
    poll = select.poll()
    poll.register(fd, event)
    left_ms = None if deadline is None else max(0, round((deadline - time.monotonic()) * 1000))
    if not poll.poll(left_ms):
        raise ChannelTimeout("deadline passed")
