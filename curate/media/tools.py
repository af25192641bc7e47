"""Which FFmpeg builds make a run's bytes: the program that encodes, and the libraries that PyAV brings."""

import subprocess
from functools import lru_cache

from curate.media.opening import ffmpeg_path
from shards.errors import ConfigError


@lru_cache
def ffmpeg_builds(configured: str | None) -> dict[str, str]:
    """Version lines of the ffmpeg program and of PyAV's libraries.

    Args:
        configured: `media.ffmpeg`; None for the pinned one.

    Raises:
        ConfigError: the program does not run.
    """
    import av

    program = ffmpeg_path(configured)
    try:
        done = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigError(f"media.ffmpeg is {program}, which does not run: {error}; name a working ffmpeg") from error
    libraries = " ".join(f"{name} {'.'.join(map(str, parts))}" for name, parts in sorted(av.library_versions.items()))
    return {
        "ffmpeg": done.stdout.partition(" Copyright")[0].removeprefix("ffmpeg version "),
        "pyav libraries": libraries,
    }
