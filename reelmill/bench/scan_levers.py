"""What each lever of the scan saves, and what it does to boundaries and scores: `reelmill bench scan --levers`.

Two questions, one table each. Exactness: toy-world videos, and real clips where REELMILL_REAL_VIDEOS names a folder of
them with its MANIFEST.csv, are scanned in full and with each lever; hard cuts are held against the truth at tolerance
0, all boundaries and all scores against the full pass. Cost: pinned files of 20 s in several codecs, CPU seconds of
probe, scan, scenes and scores against one plain decode in the same run.
"""

import csv
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from curate.config import CurateConfig
from curate.inputs.ingest import IngestConfig, expand_inputs, probe_videos
from curate.media.child import MediaChild, MediaConfig
from curate.media.opening import ffmpeg_path
from curate.media.tools import ffmpeg_builds
from curate.pipeline import span_stages
from curate.scan import ScanConfig, scan_video
from curate.scenes.segments import ScenesConfig, find_segments
from curate.scores.hashes import hamming
from curate.settle import settled
from curate.stage import run_span_stages
from reelmill.bench import Measurement
from reelmill.bench.processes import cache_folder, run_command
from reelmill.bench.scan import null_decode, pinned_video
from reelmill.toyworld.make import make
from reelmill.toyworld.truth import VideoTruth, truth_path
from shards.facts import machine_facts, package_versions
from shards.schema import SEGMENT_CLIP

FULL, DEFAULT = "full pass", "default: coarse, loop filter: noref"
LEVERS = {
    FULL: ScanConfig(skip_loop_filter="none", coarse=False),
    "loop filter: noref": ScanConfig(skip_loop_filter="noref", coarse=False),
    "coarse": ScanConfig(skip_loop_filter="none", coarse=True),
    DEFAULT: ScanConfig(),
    "coarse, loop filter: all": ScanConfig(skip_loop_filter="all", coarse=True),
}
FILES = ("h264 8 Mbit/s", "h264 2.5 Mbit/s", "hevc", "vp9", "av1")
FILE_S = 20
NUM_TOY_VIDEOS, NUM_TOY_SHOTS, TOY_SEED = 8, 8, 3
LIMITS = {"cut_f1_loss": 0.005, "rank_correlation_loss": 0.02}
_SCENES = ScenesConfig(min_clip_s=0.5, max_clip_s=3600)
_PHASHES = ("phash_first", "phash_mid", "phash_last")


@dataclass
class Verdicts:
    """What one lever found over all videos.

    Attributes:
        boundaries: (video, pts, kind) of every boundary inside a video.
        cuts: (video, frame) of every hard cut, in videos whose cuts are known.
        scores: (video, start, end) of a clip -> its row.
        num_frames, num_decoded, num_skipped: over all videos.
    """

    boundaries: set[tuple[str, int, str]] = field(default_factory=set)
    cuts: set[tuple[str, int]] = field(default_factory=set)
    scores: dict[tuple[str, int, int], dict[str, Any]] = field(default_factory=dict)
    num_frames: int = 0
    num_decoded: int = 0
    num_skipped: int = 0


def measure() -> Measurement:
    """Run the bench and print its two tables."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        truths = {**toy_cuts(scratch / "toy"), **real_cuts()}
        found = {name: verdicts(truths, config, scratch) for name, config in LEVERS.items()}
        exactness = [compared(name, found[name], found[FULL], truths) for name in LEVERS]
        costs = [row for name in FILES for row in file_costs(name, scratch)]
    print("\n".join([*as_table(exactness), "", *as_table(costs), ""]))
    default = next(row for row in exactness if row["lever"] == DEFAULT)
    figures = {
        "cut_f1_loss": exactness[0]["F1 of cuts"] - default["F1 of cuts"],
        "rank_correlation_loss": 1 - default["least rank correlation"],
    }
    return Measurement(
        bench="scan --levers",
        figures=figures,
        limits=LIMITS,
        peers={f"ffmpeg_null_decode_cpu_s, {row['file']}": row["decode CPU s"] for row in costs[:: len(LEVERS)]},
        details={"videos": len(truths), "exactness": exactness, "costs": costs},
        machine=machine_facts(),
        versions=package_versions() | ffmpeg_builds(None),
    )


def toy_cuts(folder: Path) -> dict[Path, set[int] | None]:
    """Toy-world videos, drawn anew, each with the first frames after its hard cuts."""
    make(folder, NUM_TOY_VIDEOS, seed=TOY_SEED, shots_per_video=NUM_TOY_SHOTS)
    found: dict[Path, set[int] | None] = {}
    for path in sorted(item for item in folder.iterdir() if item.is_file()):
        truth = VideoTruth.model_validate_json(truth_path(folder, path.name).read_text(encoding="utf-8"))
        found[path] = {shot.start_frame for shot in truth.shots if shot.transition.kind == "cut"}
    return found


def real_cuts() -> dict[Path, set[int] | None]:
    """Real clips, each with its hard cuts, or None where they are not known; empty without the folder."""
    folder = os.environ.get("REELMILL_REAL_VIDEOS")
    if not folder:
        return {}
    with (Path(folder) / "MANIFEST.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    known = {"y", "n"}
    return {
        Path(folder) / row["file"]: set(map(int, row["cuts"].split())) if row["has_cuts"] in known else None
        for row in rows
    }


def verdicts(truths: Mapping[Path, set[int] | None], config: ScanConfig, scratch: Path) -> Verdicts:
    """Boundaries and scores of all videos with one setting of the levers."""
    found = Verdicts()
    stages = span_stages(CurateConfig())
    with MediaChild(MediaConfig(), scratch / "child") as child:
        for path, cuts in truths.items():
            (row,) = probe_videos(expand_inputs([str(path)], IngestConfig()), child).to_pylist()
            result = scan_video(child, row, scratch, config)
            with settled(child, row, result, scratch, config, _SCENES) as result:
                clips = run_span_stages(stages, find_segments(result.scan, row, _SCENES), result.scan)
                index_of = {pts: index for index, pts in enumerate(result.scan.pts_T.tolist())}
                found.num_frames += len(result.scan.pts_T)
                found.num_decoded += result.decoded_frames
                found.num_skipped += result.skipped_frames
            for clip in clips.to_pylist():
                if clip["start_kind"] != "start":
                    found.boundaries.add((path.name, clip["start_pts"], clip["start_kind"]))
                if clip["start_kind"] == "cut" and cuts is not None:
                    found.cuts.add((path.name, index_of[clip["start_pts"]]))
                if clip["segment"] == SEGMENT_CLIP:
                    found.scores[path.name, clip["start_pts"], clip["end_pts"]] = clip
    return found


def compared(name: str, found: Verdicts, full: Verdicts, truths: Mapping[Path, set[int] | None]) -> dict[str, Any]:
    """A lever's row of the table of exactness."""
    true = {(path.name, cut) for path, cuts in truths.items() for cut in cuts or ()}
    both = sorted(found.scores.keys() & full.scores.keys())
    columns = [key for key, value in next(iter(full.scores.values())).items() if isinstance(value, float)]
    ranks = {
        column: rank_correlation(*([item.scores[key][column] for key in both] for item in (found, full)))
        for column in columns
    }
    least = min(ranks, key=lambda column: ranks[column])
    bits = [hamming(found.scores[key][item], full.scores[key][item]) for key in both for item in _PHASHES]
    return {
        "lever": name,
        "decoded": found.num_decoded / found.num_frames,
        "left out": found.num_skipped / found.num_frames,
        "F1 of cuts": f1(found.cuts, true),
        "F1 to full pass": f1(found.boundaries, full.boundaries),
        "clips": len(both),
        "least rank correlation": ranks[least],
        "of": least,
        "hash bits": float(np.mean(bits)),
    }


def f1(found: set[Any], true: set[Any]) -> float:
    """Harmonic mean of precision and recall; 1 if both are empty."""
    return 2 * len(found & true) / (len(found) + len(true)) if found or true else 1.0


def rank_correlation(first: Sequence[float | None], second: Sequence[float | None]) -> float:
    """Spearman's rho over the pairs without a null, ties sharing their mean rank; 1 if both sides are constant."""
    pairs = [(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    ranks = [_ranks(np.array(side)) for side in zip(*pairs, strict=True)]
    if not pairs or all(np.ptp(side) == 0 for side in ranks):
        return 1.0
    if any(np.ptp(side) == 0 for side in ranks):
        return 0.0
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


def file_costs(name: str, scratch: Path) -> Iterator[dict[str, Any]]:
    """The rows of one pinned file in the table of costs, one for each lever."""
    path = pinned_video(cache_folder(), FILE_S, name)
    decode_s = run_command([ffmpeg_path(), *null_decode(path)]).cpu_s
    for lever, config in LEVERS.items():
        with MediaChild(MediaConfig(), scratch / "child") as child:
            child.call("header", path=str(path))  # the child's start is no part of it
            before_s = _cpu_s(child)
            (row,) = probe_videos(expand_inputs([str(path)], IngestConfig()), child).to_pylist()
            result = scan_video(child, row, scratch, config)
            with settled(child, row, result, scratch, config, _SCENES) as result:
                clips = find_segments(result.scan, row, _SCENES)
                run_span_stages(span_stages(CurateConfig()), clips, result.scan)
                num_frames = len(result.scan.pts_T)
                yield {
                    "file": name,
                    "lever": lever,
                    "decode CPU s": decode_s,
                    "CPU per decode": (_cpu_s(child) - before_s) / decode_s,
                    "decoded": result.decoded_frames / num_frames,
                    "left out": result.skipped_frames / num_frames,
                    "can leave out": "no" if result.counts["unskippable_frames"] else "yes" if config.coarse else "-",
                }


def _cpu_s(child: MediaChild) -> float:
    own = psutil.Process().cpu_times()
    return own.user + own.system + child.usage.cpu_s


def as_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Markdown."""
    cells = [[f"{value:.3f}" if isinstance(value, float) else str(value) for value in row.values()] for row in rows]
    lines = [list(rows[0]), ["---"] * len(rows[0]), *cells]
    return ["| " + " | ".join(line) + " |" for line in lines]
