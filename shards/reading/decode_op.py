"""What a decoding child does with one clip: read it from shared memory, put its frames behind it."""

import mmap
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from shards.plans.view import ViewConfig
from shards.reading.decode import decode_frames

_ALIGNMENT_BYTES = 64


def decode_op(
    fd: int, memory_bytes: int, clip_bytes: int, wanted: Sequence[int], row: Mapping[str, Any], view: dict[str, Any]
) -> dict[str, Any]:
    """Decode the clip at the begin of the memory behind a file descriptor.

    Args:
        fd: of the memory.
        memory_bytes: its size.
        clip_bytes: size of the clip.
        wanted: pts of the frames.
        row: what `decode_frames` needs of the sample's row.
        view: resolved ViewConfig.
    """
    memory = _mapped(fd, memory_bytes)
    frames = decode_frames(memory[:clip_bytes], wanted, row, ViewConfig.model_validate(view)).data.cast("B")
    offset = frames_offset(clip_bytes)
    memory[offset : offset + len(frames)] = frames
    return {"decoded_frames": len(wanted)}


def frames_offset(clip_bytes: int) -> int:
    """Where the frames begin behind a clip of this size."""
    return -(-clip_bytes // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES


@lru_cache(maxsize=1)
def _mapped(fd: int, memory_bytes: int) -> mmap.mmap:
    return mmap.mmap(fd, memory_bytes)
