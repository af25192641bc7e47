"""The twenty videos of `bench curate`: real ones with cuts that people counted, the rest drawn at 720p and 1080p."""

import csv
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from reelmill.bench.processes import cache_folder
from reelmill.bench.scan import made
from reelmill.realclips import fetch_real_clips

NUM_VIDEOS = 20
RATE = 30
# Of REELMILL_REAL_VIDEOS: codecs and containers that every peer opens, cuts known to the frame.
REAL = (
    "nasa_13013.mp4", "mdn_frog.mp4", "cockatoo_420.mp4", "mdn_flower.mp4", "mdn_rabbit.mp4", "dvrscan_traffic.mp4",
)  # fmt: skip
_SIZES = ((1280, 720, "4M"), (1920, 1080, "8M"))
_SHOT_FRAMES = (60, 75, 90, 50)


@dataclass(frozen=True)
class BenchVideo:
    """One input.

    Attributes:
        path: of the file.
        cuts: first frame of every shot but the first, where that is known.
    """

    path: Path
    cuts: tuple[int, ...] | None


def bench_videos(folder: Path, number: int = NUM_VIDEOS, duration_s: int = 10) -> list[BenchVideo]:
    """The videos, copied into a folder of their own under plain names, so that peers may write beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    found = [*_real(), *(BenchVideo(path, None) for path in fetch_real_clips())][:number]
    found += [_drawn(place, duration_s) for place in range(number - len(found))]
    placed = []
    for place, video in enumerate(found):
        link = folder / f"{place:02d}_{video.path.stem}{video.path.suffix}"
        shutil.copyfile(video.path, link)
        placed.append(BenchVideo(link, video.cuts))
    return placed


def _real() -> list[BenchVideo]:
    root = os.environ.get("REELMILL_REAL_VIDEOS")
    if not root:
        return []
    with (Path(root) / "MANIFEST.csv").open(encoding="utf-8") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    return [BenchVideo(Path(root) / name, tuple(map(int, rows[name]["cuts"].split()))) for name in REAL if name in rows]


def _drawn(place: int, duration_s: int) -> BenchVideo:
    """Camera and object motion, noise in every frame, a hard cut to the negative every `_SHOT_FRAMES`."""
    width, height, bits = _SIZES[place % len(_SIZES)]
    shot = _SHOT_FRAMES[place % len(_SHOT_FRAMES)]
    wide, high = width * 3 // 2, height * 3 // 2
    background = (
        f"mandelbrot=s={wide}x{high}:r={RATE}:start_scale={0.010 + 0.001 * place:.3f}:start_x=-0.7436:"
        f"start_y=-0.1318:maxiter=300,trim=end_frame=1,loop=loop=-1:size=1,setpts=N/{RATE}/TB,"
        f"crop={width}:{height}:x='{width // 4}*(1+sin(t*0.9))':y='{height // 4}*(1+cos(t*0.7))',"
        rf"negate=enable='gte(mod(n\,{2 * shot})\,{shot})',noise=alls=9:allf=t:all_seed={place + 1},format=yuv420p"
    )
    overlay = f"[0][1]overlay=x='{width // 3}*(1+sin(t*1.3))':y='{height // 3}*(1+cos(t*1.7))'"
    size = f"testsrc2=s={width // 4}x{height // 4}:r={RATE}"
    encoder = ("-c:v", "libx264", "-preset", "veryfast", "-bf", "3", "-g", "60", "-b:v", bits, "-threads", "2")
    inputs = ("-f", "lavfi", "-i", background, "-f", "lavfi", "-i", size, "-filter_complex", overlay)
    path = made(cache_folder(), f"curate{place:02d}", [*inputs, "-t", str(duration_s), *encoder])
    return BenchVideo(path, tuple(range(shot, duration_s * RATE, shot)))
