"""Readers of others that latents are read by: each in an environment of its own, with a script that runs there."""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from reelmill.bench.peer_venvs import PeerFailed, peer_venv

SCRIPTS = Path(__file__).parent / "readers"
READERS = ("webdataset", "litdata", "streaming", "datasets", "energon")


@dataclass(frozen=True)
class Reader:
    """A reader and the Python that runs its script."""

    name: str
    python: str

    @property
    def script(self) -> str:
        """Of `readers/`."""
        return str(SCRIPTS / f"read_{self.name}.py")


def install_readers(tell: Callable[[str], None]) -> list[Reader]:
    """The readers that are there or could be installed; of each that could not, one line is told."""
    found = []
    for name in READERS:
        try:
            found.append(Reader(name, str(peer_venv(name, share_torch=True).python)))
        except PeerFailed as error:
            tell(f"{name} is not measured: {error}")
    return found


def last_line(error: subprocess.CalledProcessError) -> str:
    """What a command said last, in one line."""
    lines = [line.strip() for line in (error.stderr or error.stdout or "").splitlines() if line.strip()]
    return f"{' '.join(map(str, error.cmd[1:4]))} ended with {error.returncode}: {lines[-1] if lines else 'silently'}"
