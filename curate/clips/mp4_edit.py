"""The edit list of an MP4 clip, exact to the tick: which stretch of the stored media a player presents.

FFmpeg's muxer writes an edit list too, but with reordered frames its duration is off by a frame. Here the list is one
edit, in ticks of the media itself (the movie's and the track's time scale are one number), so nothing is rounded.

Boxes: ISO/IEC 14496-12, 8.2.2 (mvhd), 8.3.2 (tkhd), 8.4.2 (mdhd), 8.6.6 (elst).
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from shards.errors import ContractError

RATE_ONE = 1 << 16  # media_rate 1.0, 16.16 fixed point


@dataclass(frozen=True)
class Edit:
    """What is presented: `duration` ticks of the media, from `media_time` on."""

    media_time: int
    duration: int


def write_edit(path: Path, edit: Edit, sound_media_time: int | None = None) -> None:
    """Make `edit` the only edit of the pictures in a file that ends in its `moov` box; see `with_edit` for sound.

    Raises:
        ContractError: the file is built otherwise.
    """
    with path.open("r+b") as file:
        offset = _moov_offset(file)
        moov = with_edit(file.read(), edit, sound_media_time)
        file.seek(offset)
        file.write(moov)
        file.truncate()


def read_moov(path: Path) -> bytes:
    """The `moov` box at the end of a file.

    Raises:
        ContractError: the file does not end in one.
    """
    with path.open("rb") as file:
        _moov_offset(file)
        return file.read()


def with_edit(moov: bytes, edit: Edit, sound_media_time: int | None = None) -> bytes:
    """A `moov` box of one track of pictures, with `edit` as its only edit and the durations that follow from it.

    Args:
        moov: the box, the track of pictures first.
        edit: of the pictures, in ticks of the movie and of their track.
        sound_media_time: first sample of a track of sound that is presented, as long as the pictures are; None for the
            one that the box has.

    Raises:
        ContractError: there is not exactly one track of pictures, its time scale is not the movie's, or a duration
            needs 64 bits.
    """
    if num_tracks(moov) != 1:
        raise ContractError(f"moov has {num_tracks(moov)} tracks of pictures; one is allowed; mux one stream")
    scales = movie_timescale(moov), media_timescale(moov)
    if scales[0] != scales[1]:
        raise ContractError(f"movie and track time scales are {scales}; one number is allowed; set movie_timescale")

    def track(content: bytes) -> bytes:
        if not _is_sound(content):
            return _track(content, edit)
        media_time = max((time for time, _ in _edits(content)), default=0)
        return _track(content, Edit(media_time if sound_media_time is None else sound_media_time, edit.duration))

    changed = {b"mvhd": lambda content: _with_duration(content, 16, edit), b"trak": track}
    return box(b"moov", _mapped(_find(moov, b"moov"), changed))


def num_tracks(moov: bytes) -> int:
    """How many tracks of pictures a movie has; none if nothing was written."""
    return sum(kind == b"trak" and not _is_sound(content) for kind, content in boxes(_find(moov, b"moov")))


def movie_timescale(moov: bytes) -> int:
    """Ticks per second of the movie header."""
    return _timescale(_find(moov, b"moov", b"mvhd"))


def media_timescale(moov: bytes) -> int:
    """Ticks per second of the track's media."""
    return _timescale(_find(moov, b"moov", b"trak", b"mdia", b"mdhd"))


def read_edits(moov: bytes) -> list[tuple[int, int]]:
    """(media_time, duration) of each entry of the first track's edit list; empty if there is none."""
    return _edits(_find(moov, b"moov", b"trak"))


def _edits(track: bytes) -> list[tuple[int, int]]:
    inner = dict(boxes(track))
    if b"edts" not in inner:
        return []
    elst = dict(boxes(inner[b"edts"]))[b"elst"]
    entry = struct.Struct(">QqI" if elst[0] else ">IiI")
    return [(time, duration) for duration, time, _ in entry.iter_unpack(elst[8:])]


def boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(kind, content) of consecutive boxes.

    Raises:
        ContractError: a size points outside of the data.
    """
    offset = 0
    while offset < len(data):
        kind, size = _box_head(data[offset : offset + 16])
        head = 16 if data[offset : offset + 4] == b"\0\0\0\1" else 8
        if size < head or offset + size > len(data):
            raise ContractError(f"box {kind!r} has {size} bytes; {len(data) - offset} are left; mux the file again")
        yield kind, data[offset + head : offset + size]
        offset += size


def box(kind: bytes, content: bytes) -> bytes:
    """One box."""
    return struct.pack(">I", 8 + len(content)) + kind + content


def _moov_offset(file: BinaryIO) -> int:
    """Where the last box begins, which must be `moov`; the file is left there."""
    end = file.seek(0, os.SEEK_END)
    offset = size = 0
    kind = b""
    while offset + size < end:
        offset += size
        file.seek(offset)
        kind, size = _box_head(file.read(16))
    if kind != b"moov":
        raise ContractError(f"last box of the file is {kind!r}; moov is allowed; mux without faststart")
    return file.seek(offset)


def _box_head(head: bytes) -> tuple[bytes, int]:
    if len(head) < 8:
        raise ContractError(f"box head has {len(head)} bytes; 8 are needed; mux the file again")
    size = int.from_bytes(head[:4])
    size = int.from_bytes(head[8:16]) if size == 1 else size
    if size < 8:
        raise ContractError(f"box {head[4:8]!r} has {size} bytes; at least 8 are allowed; mux the file again")
    return head[4:8], size


def _find(data: bytes, *path: bytes) -> bytes:
    for kind in path:
        data = next(content for name, content in boxes(data) if name == kind)
    return data


def _is_sound(track: bytes) -> bool:
    handler = dict(boxes(_find(track, b"mdia"))).get(b"hdlr", b"")
    return handler[8:12] == b"soun"  # ISO/IEC 14496-12, 8.4.3


def _mapped(data: bytes, changed: dict) -> bytes:
    return b"".join(box(kind, changed.get(kind, bytes)(content)) for kind, content in boxes(data))


def _track(content: bytes, edit: Edit) -> bytes:
    """The track with its header's duration set and `edts` right behind it, whatever edits it had."""
    entry = struct.pack(">QqI", edit.duration, edit.media_time, RATE_ONE)
    edts = box(b"edts", box(b"elst", struct.pack(">II", 1 << 24, 1) + entry))
    parts = []
    for kind, inner in boxes(content):
        if kind == b"tkhd":
            parts += [box(kind, _with_duration(inner, 20, edit)), edts]
        elif kind != b"edts":
            parts.append(box(kind, inner))
    return b"".join(parts)


def _timescale(header: bytes) -> int:
    return int.from_bytes(header[20:24] if header[0] else header[12:16])


def _with_duration(header: bytes, offset: int, edit: Edit) -> bytes:
    """Set the duration of a mvhd (at 16, version 0) or tkhd (at 20); version 1 has 64-bit dates before it."""
    offset, size = (offset + 8, 8) if header[0] else (offset, 4)
    if edit.duration >= 1 << 8 * size:
        raise ContractError(f"duration is {edit.duration} ticks; below {1 << 8 * size} is allowed; use shorter clips")
    return header[:offset] + edit.duration.to_bytes(size) + header[offset + size :]
