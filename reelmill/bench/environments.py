"""Environments of other readers: each in a folder of its own below the cache, made from exact install lines."""

import importlib.util
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

SCRIPTS = Path(__file__).parent / "readers"
# What was verified together on Python 3.11; name of the script behind `read_`: what pip installs.
INSTALL: Mapping[str, tuple[str, ...]] = {
    "webdataset": ("webdataset==1.0.2",),
    "litdata": ("litdata==0.2.76",),
    "streaming": ("mosaicml-streaming==0.13.0",),
    "datasets": ("datasets==5.0.1",),
    "energon": ("megatron-energon==7.4.1",),
}
_LARGE = "torch"  # taken from our environment if it is there: it is half a minute and gigabytes to install


@dataclass(frozen=True)
class Peer:
    """A reader and the Python that runs its script."""

    name: str
    python: str

    @property
    def script(self) -> str:
        """Of `readers/`."""
        return str(SCRIPTS / f"read_{self.name}.py")


def install_peers(folder: Path, tell: Callable[[str], None]) -> list[Peer]:
    """The peers that could be installed; of each that could not, one line is told.

    Args:
        folder: for the environments; those that are there with the same install lines are taken as they are.
        tell: gets the lines.
    """
    found = []
    for name, packages in INSTALL.items():
        try:
            found.append(Peer(name, str(install(folder / name, packages, tell))))
        except subprocess.CalledProcessError as error:
            tell(f"{name} is not measured: {last_line(error)}")
    return found


def install(folder: Path, packages: tuple[str, ...], tell: Callable[[str], None]) -> Path:
    """The Python of an environment with these packages.

    Raises:
        CalledProcessError: it could not be made; with what the tool said.
    """
    python, ready = folder / "bin" / "python", folder / "ready"
    line = " ".join(packages)
    if ready.is_file() and ready.read_text() == line:
        return python
    tell(f"installing {line} into {folder}")
    shutil.rmtree(folder, ignore_errors=True)
    _run([sys.executable, "-m", "venv", str(folder)])
    if importlib.util.find_spec(_LARGE):
        own = next(folder.glob("lib/python3*/site-packages"))
        (own / "shared.pth").write_text(sysconfig.get_path("purelib") + "\n")  # behind its own packages
    _run([str(python), "-m", "pip", "install", "--quiet", *packages])
    ready.write_text(line)
    return python


def last_line(error: subprocess.CalledProcessError) -> str:
    """What a command said last, in one line."""
    lines = [line.strip() for line in (error.stderr or error.stdout or "").splitlines() if line.strip()]
    return f"{' '.join(map(str, error.cmd[1:4]))} ended with {error.returncode}: {lines[-1] if lines else 'silently'}"


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
