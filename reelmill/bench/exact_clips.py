"""How many clips show exactly the planned frames: ours, and those of other cutters, on one matrix of sources.

Every cutter gets the same sources and the same three spans, told exactly; nobody's shot detector is asked. A clip is
exact if ffmpeg shows the planned frames, all of them and no other, equal to the source's or above 35 dB. Sources with
several video streams are ours only: the others cannot be told which one. With `peers` the other cutters are installed,
each in an environment of its own, and called as their own commands call them, with the pinned ffmpeg on PATH.
"""

import itertools
import json
import os
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.clips.cut import CutConfig, cut_clip
from curate.media.child import MediaChild, MediaConfig
from curate.media.opening import ffmpeg_path
from curate.media.tools import ffmpeg_builds
from reelmill.bench import Measurement
from reelmill.bench.clip_judge import Truth, Verdict, judge, read_truth
from reelmill.bench.clip_matrix import RATE, SHOT_ENDS, Source, draw, full_matrix, quick_matrix
from shards.config import parse_config
from shards.errors import ClipError
from shards.facts import machine_facts, package_versions

FLOORS = {"exact_clips": 1.0}
SHOTS = tuple(itertools.pairwise((0, *SHOT_ENDS)))
SCRIPTS = Path(__file__).parent / "peer_scripts"
# name in the table -> (environment, its script's argument)
PEERS = {
    "pyscenedetect_encode": ("pyscenedetect", "encode"),
    "pyscenedetect_copy": ("pyscenedetect", "copy"),
    "data_juicer_scene": ("data_juicer", "encode"),
    "data_juicer_copy": ("data_juicer", "copy"),
    "video2dataset_exact": ("video2dataset", "exact"),
    "video2dataset_keyframe_adjusted": ("video2dataset", "keyframe_adjusted"),
    "video2dataset_low": ("video2dataset", "low"),
}


@dataclass(frozen=True)
class Score:
    """What a cutter made of the matrix.

    Attributes:
        num_clips: asked for.
        num_exact: the planned frames, equal or above 35 dB.
        num_poor: the planned frames, but some below 35 dB.
        num_absent: no clip, or one that shows nothing.
        foreign_frames: shown, but of no place in the span.
        lost_frames: of the span, but not shown.
    """

    num_clips: int = 0
    num_exact: int = 0
    num_poor: int = 0
    num_absent: int = 0
    foreign_frames: int = 0
    lost_frames: int = 0

    @property
    def share(self) -> float:
        """Exact clips per clip."""
        return self.num_exact / self.num_clips if self.num_clips else 0.0

    def describe(self) -> str:
        """For people."""
        return (
            f"{self.num_exact} of {self.num_clips} exact; {self.num_poor} below 35 dB, {self.num_absent} absent; "
            f"{self.foreign_frames} foreign and {self.lost_frames} lost frames"
        )


def measure(peers: bool = False, sources: Sequence[Source] | None = None) -> Measurement:
    """Run the bench.

    Args:
        peers: install and measure the other cutters too.
        sources: of the matrix; default the quick one, the whole one with REELMILL_BENCH_FULL=1.
    """
    is_full = os.environ.get("REELMILL_BENCH_FULL") == "1"
    with tempfile.TemporaryDirectory() as folder:
        chosen = (full_matrix() if is_full else quick_matrix()) if sources is None else sources
        drawn = Path(folder) / "sources"
        drawn.mkdir()
        truths = [(source, read_truth(draw(source, drawn), source.stream_index)) for source in chosen]
        scores = dict(our_scores(truths, Path(folder)))
        ours = list(scores)
        failed: dict[str, str] = {}
        if peers:
            alone = [truth for source, truth in truths if source.num_streams == 1]
            for name, found in peer_scores(alone, Path(folder)):
                if isinstance(found, Score):
                    scores[name] = found
                else:
                    failed[name] = found
    exact, asked = (sum(getattr(scores[name], field) for name in ours) for field in ("num_exact", "num_clips"))
    return Measurement(
        bench="clips",
        figures={"exact_clips": exact / asked, **{f"{name}_exact_clips": scores[name].share for name in ours}},
        limits={},
        peers={f"{name}_exact_clips": score.share for name, score in scores.items() if name not in ours},
        details={name: score.describe() for name, score in scores.items()} | failed,
        machine=machine_facts(),
        versions=package_versions() | ffmpeg_builds(None),
        floors=FLOORS,
    )


def our_scores(truths: Sequence[tuple[Source, Truth]], folder: Path) -> Iterator[tuple[str, Score]]:
    """Both modes of ours, in the safe child as in a run."""
    with MediaChild(MediaConfig(), folder / "scratch") as child:
        for mode in ("copy", "encode"):
            config, verdicts = parse_config(CutConfig, {"mode": mode}), []
            for (_, truth), (first, last) in itertools.product(truths, SHOTS):
                out = folder / "ours.mp4"
                out.unlink(missing_ok=True)
                _cut(child, truth, first, last, config, out)
                verdicts.append((_judged(out, truth, first, last), first, last))
            yield f"reelmill_{mode}", score(verdicts)


def peer_scores(truths: Sequence[Truth], folder: Path) -> Iterator[tuple[str, Score | str]]:
    """The other cutters; of one that cannot be installed or run, what it said."""
    from reelmill.bench.peer_venvs import PeerFailed, peer_venv

    environment = _environment(folder / "tools")
    for name, (peer, mode) in PEERS.items():
        jobs = list(_jobs(truths, folder / name))
        try:
            command = [str(peer_venv(peer).python), str(SCRIPTS / f"cut_{peer}.py"), mode]
            done = subprocess.run(
                command, input=json.dumps(jobs), env=environment, capture_output=True, text=True, check=False
            )
        except PeerFailed as error:
            yield name, str(error)
            continue
        if done.returncode:
            yield name, f"ended with {done.returncode}: {' '.join(done.stderr.split())[-200:]}"
            continue
        pairs = itertools.product(zip(truths, jobs, strict=True), enumerate(SHOTS))
        clips = [(Path(job["out"], f"{at}.mp4"), truth, *shot) for (truth, job), (at, shot) in pairs]
        yield name, score([(_judged(*clip), *clip[2:]) for clip in clips])


def score(verdicts: Sequence[tuple[Verdict | None, int, int]]) -> Score:
    """Sum up (verdict, first, last) of many clips; the verdict is None where there is no clip."""
    found = Counter()
    for verdict, first, last in verdicts:
        planned, shown = set(range(first, last)), list(verdict.shown) if verdict else []
        found["num_absent"] += not shown
        found["num_exact"] += bool(shown and verdict and verdict.is_exact)
        found["num_poor"] += bool(shown and verdict and verdict.is_planned and not verdict.is_exact)
        found["foreign_frames"] += sum(number not in planned for number in shown)
        found["lost_frames"] += len(planned - set(shown))
    return Score(len(verdicts), **found)


def _judged(clip: Path, truth: Truth, first: int, last: int) -> Verdict | None:
    return judge(clip, truth, first, last) if clip.is_file() else None


def _cut(child: MediaChild, truth: Truth, first: int, last: int, config: CutConfig, out: Path) -> None:
    start_pts, end_pts = truth.span(first, last)
    base = {"time_base_num": truth.time_base.numerator, "time_base_den": truth.time_base.denominator}
    span = {"start_pts": start_pts, "end_pts": end_pts, "num_frames": last - first, "stream_index": truth.stream_index}
    video = child.call("probe", path=str(truth.path))["columns"]
    try:
        cut_clip(child, truth.path, video, {**base, **span}, out, config)
    except ClipError:
        out.unlink(missing_ok=True)  # counted as absent


def _jobs(truths: Sequence[Truth], folder: Path) -> Iterator[dict[str, Any]]:
    """What a peer's script is told of each source: times are from the first frame, as players count them."""
    for truth in truths:
        out = folder / truth.path.stem
        out.mkdir(parents=True)

        def time_s(pts: int, truth: Truth = truth) -> float:
            return float((pts - truth.pts_N[0]) * truth.time_base)

        spans = [truth.span(first, last) for first, last in SHOTS]
        yield {
            "source": str(truth.path),
            "out": str(out),
            "rate": RATE,
            "time_base": str(truth.time_base),
            "spans_pts": [[pts - truth.pts_N[0] for pts in span] for span in spans],
            "spans_s": [[time_s(pts) for pts in span] for span in spans],
            "keys_s": [time_s(pts) for pts in truth.key_pts],
        }


def _environment(tools: Path) -> Mapping[str, str]:
    """PATH with the pinned ffmpeg under its usual name."""
    tools.mkdir()
    (tools / "ffmpeg").symlink_to(ffmpeg_path())
    return {**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ.get('PATH', '')}"}
