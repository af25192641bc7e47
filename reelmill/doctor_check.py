"""What a check of `reelmill doctor` is, and how checks ask other processes."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Literal

from shards.packages import HOME

State = Literal["ok", "missing", "problem"]

PROBE_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Check:
    """One finding.

    Attributes:
        area: heading under which it is printed.
        name: what was looked for.
        state: `missing` is a choice one can make, `problem` is not.
        value: what was found.
        gives: what it is for, or what to do about it.
    """

    area: str
    name: str
    state: State
    value: str
    gives: str = ""


def version_of(distribution: str) -> str | None:
    """Version of an installed distribution, from its metadata; None if it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def python_says(code: str) -> str:
    """What a fresh interpreter prints; it sees our packages and not the current folder."""
    return output_of([sys.executable, "-P", "-c", code], {**os.environ, "PYTHONPATH": str(HOME)}).strip()


def output_of(command: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    """What a program prints.

    Raises:
        OSError, subprocess.SubprocessError: it does not start, fails, or takes longer than `PROBE_TIMEOUT_S`.
    """
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=PROBE_TIMEOUT_S, stdin=subprocess.DEVNULL,
        env=None if environment is None else dict(environment),
    )  # fmt: skip
    return done.stdout
