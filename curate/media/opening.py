"""How a media child opens a stranger's file: by allow-list, as a local file, bounded pictures only, with stable codes.

The rules are values (`OpenRules`); a child gets its worker's at start, any other process (a test) has the defaults.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shards.errors import MediaError

if TYPE_CHECKING:
    from av.container import InputContainer

# FFmpeg's demuxers that read nothing but the file they are given: no playlist, no concatenation, no image sequence.
DEMUXERS = (
    *("mov", "matroska", "avi", "flv", "ogg", "gif", "mpeg", "mpegts", "mpegvideo"),
    *("asf", "ivf", "mxf", "dv", "nut", "yuv4mpegpipe"),
)
PROTOCOLS = "file"
MAX_PIXELS = 8192 * 4352


@dataclass(frozen=True)
class OpenRules:
    """What may be opened.

    Attributes:
        demuxers: names of FFmpeg's demuxers.
        max_pixels: pixels of one picture, at most.
        ffmpeg: path of the ffmpeg binary; None for the one of the wheel imageio-ffmpeg.
    """

    demuxers: tuple[str, ...] = DEMUXERS
    max_pixels: int = MAX_PIXELS
    ffmpeg: str | None = None

    def options(self) -> dict[str, str]:
        """FFmpeg's options for an input, for PyAV's `options` and, as `-key value` before `-i`, for the binary."""
        return {
            "format_whitelist": ",".join(self.demuxers),
            "protocol_whitelist": PROTOCOLS,
            "max_pixels": str(self.max_pixels),
        }


_rules = OpenRules()


def open_rules() -> OpenRules:
    """The rules of this process."""
    return _rules


def set_open_rules(rules: OpenRules) -> None:
    """Set the rules of this process: once, at the start of a media child."""
    global _rules
    _rules = rules


def ffmpeg_path(configured: str | None = None) -> str:
    """Path of the ffmpeg binary: the configured one, else the pinned one of the wheel imageio-ffmpeg."""
    if configured is None:
        configured = _rules.ffmpeg
    if configured is not None:
        return configured
    from imageio_ffmpeg import get_ffmpeg_exe  # only who calls the binary pays for this import

    return get_ffmpeg_exe()


def input_url(path: str | Path) -> str:
    """An absolute `file:` url: a name that starts with a protocol or a dash stays a name."""
    return f"file:{os.path.abspath(path)}"


@contextmanager
def open_video(path: str | Path, *, decode_head: bool = True) -> "Iterator[InputContainer]":
    """Open a file for demuxing under the rules of this process.

    Args:
        path: a local file.
        decode_head: let FFmpeg decode the first frames, which fills in the pixel format before any packet is read; at
            1080p that costs as much as eight frames, so who decodes anyway does without.

    Raises:
        MediaError: `missing`, `not_a_regular_file`, `empty_file`, `not_a_video`, `truncated`, …
    """
    import av
    from av.error import ArgumentError, InvalidDataError

    check_regular_file(path)
    with media_errors(path):
        try:
            options = _rules.options() | ({} if decode_head else {"skip_frame": "all"})
            container = av.open(input_url(path), options=options, metadata_errors="replace")
        except (InvalidDataError, ArgumentError) as error:  # the second: a demuxer not allowed
            raise _not_a_video(Path(path), error) from error
    with container:
        yield container


def check_regular_file(path: str | Path) -> os.stat_result:
    """Stat a file without opening it (opening a FIFO would wait for ever).

    Raises:
        MediaError: `missing`, `symlink_loop`, `not_a_regular_file`, `empty_file`.
    """
    with media_errors(path):
        status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise MediaError(f"{path} is not a regular file; name a video file", "not_a_regular_file")
    if status.st_size == 0:
        raise MediaError(f"{path} has 0 bytes; a video has more; copy it again", "empty_file")
    return status


@contextmanager
def media_errors(path: str | Path) -> Iterator[None]:
    """Turn the errors of opening, reading and decoding into MediaErrors with stable codes."""
    try:
        yield
    except MediaError:
        raise
    except Exception as error:
        code = error_code(error)
        if code is None:
            raise
        raise MediaError(
            f"{path} cannot be read; {type(error).__name__}: {error}; see the code {code}", code
        ) from error


def error_code(error: BaseException) -> str | None:
    """The stable code of an exception of the operating system or FFmpeg; None for one that is neither."""
    names = {base.__name__ for base in type(error).__mro__}
    if "FFmpegError" in names and "InvalidDataError" in names:
        return "decode_error"
    if isinstance(error, OSError) and error.errno in _ERRNO_CODES:
        return _ERRNO_CODES[error.errno]
    if isinstance(error, MemoryError) or "Insufficient memory" in str(error):
        return "out_of_memory"
    if "FFmpegError" in names:
        return "decode_error"
    return "io_error" if isinstance(error, OSError) else None


def refuse_lack_of_memory(error: BaseException) -> None:
    """Raise a decoder's error again if it says nothing about the packet: the memory limit was met."""
    if error_code(error) == "out_of_memory":
        raise error


_ERRNO_CODES = {
    2: "missing",
    12: "out_of_memory",
    13: "no_permission",
    20: "missing",
    27: "file_limit",
    28: "disk_full",
    36: "name_too_long",
    40: "symlink_loop",
}


_FIRST_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")


def _not_a_video(path: Path, error: Exception) -> MediaError:
    if boxes_end_early(path):
        return MediaError(f"{path} ends inside its boxes; {error}; copy it again, whole", "truncated")
    return MediaError(f"{path} is no video of an allowed container; {error}; see media.demuxers", "not_a_video")


def boxes_end_early(path: Path) -> bool:
    """Whether an MP4 or QuickTime file ends before its top-level boxes do, or before its index was ever written."""
    has_index = False
    size = path.stat().st_size
    offset = 0
    with path.open("rb") as file:
        while offset + 8 <= size:
            file.seek(offset)
            header = file.read(16)
            kind = header[4:8]
            if offset == 0 and kind not in _FIRST_BOXES:
                return False
            has_index |= kind == b"moov"
            box_bytes = int.from_bytes(header[:4])
            if box_bytes == 1:  # a 64-bit size follows
                box_bytes = int.from_bytes(header[8:16])
            if box_bytes < 8:
                return box_bytes == 0 and not has_index  # 0: up to the end of the file
            offset += box_bytes
    return offset > size
