"""Small real runs: drawn videos of one shot each through the whole of curation, in this process, without models."""

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import curate.pack
import curate.worker
from curate.config import CurateConfig
from curate.parts import SMALL_BYTES
from curate.run import Curated, curate_videos
from reelmill.progress import LineProgress
from shards.config import parse_config
from tests.curate.videos import moving_square, write_video

RATE, NUM_FRAMES = 25, 50


def draw(folder: Path, names: Sequence[str]) -> list[Path]:
    """Videos of two seconds, large enough to count as one in a part; each has its name in it, so no two are equal."""
    folder.mkdir(parents=True, exist_ok=True)
    return [_draw(folder / f"{name}.mp4", name.encode()) for name in names]


def _draw(path: Path, name: bytes) -> Path:
    write_video(path, moving_square(NUM_FRAMES, step_px=2 + sum(name) % 89), RATE)
    with path.open("ab") as file:
        says_nothing = name.ljust(SMALL_BYTES)
        file.write(struct.pack(">I4s", 8 + len(says_nothing), b"free") + says_nothing)  # a box of MP4
    return path


def curated(inputs: Path | Sequence[Path | str], output: Path, **config: Any) -> Curated:
    """A run with one worker and two videos per part; every clip is kept unless `keep` says otherwise."""
    names = [str(inputs)] if isinstance(inputs, Path) else [str(path) for path in inputs]
    values = {"run": {"workers": 1, "part_videos": 2}, "scenes": {"min_clip_s": 0.5}, **config}
    return curate_videos(parse_config(CurateConfig, values), names, output, LineProgress())


class Calls:
    """Names of the sources that were scanned, and clips that were cut, since the last `clear`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.scanned: list[str] = []
        self.cut: list[str] = []
        scan, cut = curate.worker.scan_video, curate.pack.cut_clip

        def scan_video(child: Any, row: Any, *arguments: Any) -> Any:
            self.scanned.append(Path(row["uri"]).stem)
            return scan(child, row, *arguments)

        def cut_clip(child: Any, source: Path, video: Any, clip: Any, *arguments: Any) -> Any:
            self.cut.append(clip["clip_id"])
            return cut(child, source, video, clip, *arguments)

        monkeypatch.setattr(curate.worker, "scan_video", scan_video)
        monkeypatch.setattr(curate.pack, "cut_clip", cut_clip)

    def clear(self) -> None:
        """Forget."""
        self.scanned.clear()
        self.cut.clear()
