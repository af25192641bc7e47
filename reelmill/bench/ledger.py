"""What the books cost per file: everything of a run but opening, decoding and looking at frames.

Tiny videos (12 frames of 64 x 48 px, no two equal) go through the command's own code with one worker. Counted are CPU
seconds of this process, which hashes, asks the media child, writes parts, decides, packs and publishes, less those of
its steps over frames (scenes, scores); the media child has its own. Two runs of different size are held against each
other, so that imports and start-up fall out.
"""

import subprocess
import tempfile
import time
from pathlib import Path

from curate.config import CurateConfig
from curate.media.opening import ffmpeg_path
from curate.media.tools import ffmpeg_builds
from curate.run import curate_videos
from curate.rundir import read_json
from reelmill.bench import Measurement
from reelmill.progress import LineProgress
from shards.config import parse_config
from shards.facts import machine_facts, package_versions

FEW, MANY = 64, 464
FLOORS = {"files_per_core_s": 200.0}
_VIDEO = "testsrc2=s=64x48:r=12:d=1,format=yuv420p"
_OVER_FRAMES = ("scenes", "scores")
_CONFIG = {
    "run": {"workers": 1},
    "scenes": {"min_clip_s": 0.1},
    "keep": {"light": "luma_mean > 0", "duplicate": "NOT is_duplicate"},
}


def measure() -> Measurement:
    """Run over few and over many tiny files."""
    with tempfile.TemporaryDirectory(prefix="reelmill-ledger-") as folder:
        root = Path(folder)
        few_s, many_s = (_own_cpu_s(root / str(number), number) for number in (FEW, MANY))
    per_file_s = (many_s - few_s) / (MANY - FEW)
    return Measurement(
        "ledger",
        {"files_per_core_s": 1 / per_file_s, "ms_per_file": 1000 * per_file_s},
        {},
        {},
        {"files": MANY, "cpu_s_few": few_s, "cpu_s_many": many_s},
        machine_facts(),
        package_versions() | ffmpeg_builds(None),
        FLOORS,
    )


def _own_cpu_s(root: Path, number: int) -> float:
    """CPU seconds of this process over so many files, less those of its steps over frames."""
    root.mkdir()
    video = root / "video.mp4"
    command = [ffmpeg_path(), "-nostdin", "-v", "error", "-f", "lavfi", "-i", _VIDEO, "-c:v", "libx264", str(video)]
    subprocess.run(command, check=True)
    (root / "in").mkdir()
    data = video.read_bytes()
    for place in range(number):
        says_nothing = (16).to_bytes(4, "big") + b"free" + place.to_bytes(8, "big")  # a box of MP4
        (root / "in" / f"{place:05d}.mp4").write_bytes(data + says_nothing)
    started_s = time.process_time()
    result = curate_videos(parse_config(CurateConfig, _CONFIG), [str(root / "in")], root / "run", LineProgress())
    own_s = time.process_time() - started_s
    assert result.ledger.num_videos == number
    steps = read_json(root / "run" / "metrics.json")["steps"]
    return own_s - sum(step["cpu_s"] for step in steps if step["step"] in _OVER_FRAMES)
