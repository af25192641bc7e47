"""The systems of `bench curate`, each given the same files for "detect shots, score motion, cut, write shards".

A system is a function that lays out its inputs and returns the command, and one that reads what the command made. The
peers' ffmpeg is the pinned one that we use, on PATH; its reports (`FFREPORT`) and a counter in OpenCV say what was
decoded and encoded.
"""

import functools
import http.server
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from curate.media.opening import ffmpeg_path
from reelmill.bench.curate_checks import MadeClip, source_frames
from reelmill.bench.peer_venvs import peer_venv

SCRIPTS = Path(__file__).parent / "peer_scripts"
Command = list[str | Path]
Outcome = tuple[list[MadeClip], set[str]]
_DECODED = re.compile(r"\(video\): .*?(\d+) frames decoded")
_ENCODED = re.compile(r"\(video\): (\d+) frames encoded")


@dataclass(frozen=True)
class System:
    """One tool in one mode.

    Attributes:
        name: of its row.
        encodes: clips are encoded, not copied.
        does: what of the task it does, for the table.
        command: what to run.
        read: its clips, and the sources whose missing frames it reports; with frames a second of each source.
    """

    name: str
    encodes: bool
    does: str
    command: Callable[["Task"], Command]
    read: Callable[["Task", Mapping[str, float]], Outcome]


@dataclass(frozen=True)
class Task:
    """What a system is given.

    Attributes:
        folder: empty, its own, below what the file server serves.
        videos: the files.
        url: of `folder`.
    """

    folder: Path
    videos: Sequence[Path]
    url: str


def environment(folder: Path) -> dict[str, str]:
    """PATH with the pinned ffmpeg, and where frame counts go."""
    tools, frames = folder / "tools", folder / "frames"
    tools.mkdir(parents=True)
    frames.mkdir()
    report = f"file={frames}/ffmpeg-$$.log:level=40"  # one for each process; its own %t counts seconds
    (tools / "ffmpeg").write_text(f'#!/bin/sh\nFFREPORT="{report}" exec {shlex.quote(ffmpeg_path())} "$@"\n')
    (tools / "ffmpeg").chmod(0o755)
    return {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "REELMILL_BENCH_FRAMES": str(frames),
        "PYTHONPATH": str(SCRIPTS),
        **{name: "1" for name in ("OMP_NUM_THREADS", "OPENCV_FOR_THREADS_NUM", "HF_HUB_OFFLINE", "WANDB_DISABLED")},
        "WANDB_MODE": "disabled",
    }


def counted_frames(folder: Path) -> dict[str, int]:
    """Frames decoded and encoded by a peer, as its tools reported them."""
    decoded = encoded = 0
    for path in (folder / "frames").glob("ffmpeg-*.log"):
        text = path.read_text(errors="replace")
        decoded += sum(map(int, _DECODED.findall(text)))
        encoded += sum(map(int, _ENCODED.findall(text)))
    decoded += sum(int(path.read_text()) for path in (folder / "frames").glob("python-*.txt"))
    return {"decoded": decoded, "encoded": encoded}


# PySceneDetect


def _pyscenedetect(mode: str, task: Task) -> Command:
    (task.folder / "out").mkdir()
    return [
        peer_venv("pyscenedetect").python,
        SCRIPTS / "run_pyscenedetect.py",
        mode,
        task.folder / "out",
        *task.videos,
    ]


def _read_pyscenedetect(task: Task, rates: Mapping[str, float]) -> Outcome:
    clips, recorded = [], set[str]()
    for line in (task.folder / "log").read_text(errors="replace").splitlines():
        if not line.startswith('{"video"'):
            continue
        found = json.loads(line)
        stem = Path(found["video"]).stem
        files = sorted((task.folder / "out").glob(f"{stem}-*.mp4"))
        for place, (start, end) in enumerate(found["spans"]):
            clips.append(MadeClip(found["video"], start, end, files[place] if place < len(files) else None))
        if found["code"]:
            recorded.add(found["video"])
    return clips, recorded


# Data-Juicer


def _data_juicer(task: Task) -> Command:
    rows = [{"videos": [str(path)], "text": "<__dj__video> <|__dj__eoc|>"} for path in task.videos]
    (task.folder / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    steps = [
        {"video_split_by_scene_mapper": {"detector": "ContentDetector", "save_dir": str(task.folder / "clips")}},
        {"video_motion_score_filter": {"min_score": 0.0, "sampling_fps": 2}},
    ]
    recipe = {
        "project_name": "bench", "dataset_path": str(task.folder / "in.jsonl"), "np": 1, "process": steps,
        "export_path": str(task.folder / "out" / "out.jsonl"), "open_tracer": False, "use_cache": False,
        "temp_dir": str(task.folder / "temp"),
    }  # fmt: skip
    (task.folder / "temp").mkdir()
    (task.folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    return [peer_venv("data_juicer").script("dj-process"), "--config", task.folder / "recipe.yaml"]


def _read_data_juicer(task: Task, rates: Mapping[str, float]) -> Outcome:
    """It keeps no spans: they are its detector's, asked once more in its own environment."""
    ask = (
        "import json, sys, scenedetect\n"
        "for name in sys.argv[1:]:\n"
        "    detector = scenedetect.ContentDetector(27.0, min_scene_len=15)\n"
        "    found = scenedetect.detect(name, detector, start_in_scene=True)\n"
        "    print(json.dumps([name, [[a.get_frames(), b.get_frames()] for a, b in found]]))"
    )
    python = peer_venv("data_juicer").python
    command = [python, "-c", ask, *map(str, task.videos)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    planned = dict(json.loads(line) for line in said.splitlines() if line.startswith("["))
    clips = []
    out = (task.folder / "out" / "out.jsonl").read_text().splitlines()
    made = [Path(name) for line in out for name in json.loads(line)["videos"]]
    for video in task.videos:
        # A video of one scene is passed on as it is; clips of the others are numbered.
        own = sorted(path for path in made if path.name.startswith(video.stem))
        for place, (start, end) in enumerate(planned[str(video)]):
            clips.append(MadeClip(video.name, start, end, own[place] if place < len(own) else None))
    return clips, set()


# video2dataset


def _video2dataset(task: Task) -> Command:
    served = task.folder / "served"
    served.mkdir()
    for path in task.videos:
        (served / path.name).symlink_to(path)
    lines = [f"{task.url}/served/{path.name},{path.name}" for path in task.videos]
    (task.folder / "in.csv").write_text("\n".join(["url,caption", *lines]) + "\n")
    cuts = {"cut_detection_mode": "all", "framerates": None, "threshold": 27, "min_scene_len": 15}
    config = {
        "subsampling": {
            "CutDetectionSubsampler": {"cuts_are_clips": True, "args": cuts},
            "ClippingSubsampler": {
                "args": {"min_length": 0.0, "max_length": 999999.0, "max_length_strategy": "all", "precision": "exact"}
            },
        },
        "reading": {"yt_args": {"download_size": 360, "download_audio_rate": 44100}, "timeout": 60, "sampler": None},
        "storage": {"number_sample_per_shard": 1000, "oom_shard_count": 5, "captions_are_subtitles": False},
        "distribution": {
            "processes_count": 1, "thread_count": 1, "subjob_size": 1000, "distributor": "multiprocessing",
        },
    }  # fmt: skip
    (task.folder / "config.yaml").write_text(yaml.safe_dump(config))
    flags = {
        "url_list": task.folder / "in.csv", "input_format": "csv", "output_format": "webdataset", "url_col": "url",
        "caption_col": "caption", "output_folder": task.folder / "out", "config": task.folder / "config.yaml",
    }  # fmt: skip
    return [peer_venv("video2dataset").script("video2dataset"), *(f"--{name}={value}" for name, value in flags.items())]


def _read_video2dataset(task: Task, rates: Mapping[str, float]) -> Outcome:
    clips, recorded = [], set[str]()
    for shard in sorted((task.folder / "out").glob("*.tar")):
        with tarfile.open(shard) as tar:
            tar.extractall(task.folder / "unpacked" / shard.stem, filter="data")
    for meta_path in sorted((task.folder / "unpacked").glob("*/*.json")):
        meta = json.loads(meta_path.read_text())
        name = meta["caption"]
        if meta["status"] != "success":
            recorded.add(name)
            continue
        ((start_s, end_s),) = meta["clips"]
        span = round(start_s * rates[name]), round(end_s * rates[name])
        file = meta_path.with_suffix(".mp4")
        clips.append(MadeClip(name, *span, file if file.is_file() else None))
    return clips, recorded


# NeMo Curator


def _nemo_curator(task: Task) -> Command:
    venv, folder = peer_venv("nemo_curator"), task.folder / "in"
    folder.mkdir()
    for path in task.videos:
        os.link(path, folder / path.name)
    (ffprobe,) = venv.root.glob("lib/python3*/site-packages/ffmpeg/binaries/ffprobe")
    (task.folder / "tools" / "ffprobe").symlink_to(ffprobe)
    return [venv.python, SCRIPTS / "run_nemo_curator.py", folder, task.folder / "out"]


def _read_nemo_curator(task: Task, rates: Mapping[str, float]) -> Outcome:
    """Clips by the JSON beside each: source, span in seconds."""
    clips = []
    for meta_path in sorted((task.folder / "out").glob("metas/**/*.json")):
        meta = json.loads(meta_path.read_text())
        if "duration_span" not in meta:
            continue
        name = Path(meta["source_video"]).name
        start, end = (round(second * rates[name]) for second in meta["duration_span"])
        file = next((task.folder / "out" / "clips").glob(f"**/{meta_path.stem}.mp4"), None)
        clips.append(MadeClip(name, start, end, file))
    return clips, set()


@contextmanager
def file_server(folder: Path) -> Iterator[str]:
    """Serve a folder on loopback; yields its url."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


# Reelmill

OUR_VALUES = (
    *(f"keep.{rule}=null" for rule in ("motion", "light", "contrast", "sharpness", "borders", "duplicate")),
    "scenes.min_clip_s=0.5", "scenes.max_clip_s=100000", "run.workers=1",
)  # fmt: skip


def _reelmill(mode: str, task: Task) -> Command:
    sets = [word for value in (*OUR_VALUES, f"cut.mode={mode}") for word in ("--set", value)]
    command = [sys.executable, "-m", "reelmill", "curate", "run", "curate/scan_only", *task.videos]
    return [*command, "--output", task.folder / "run", *sets]


def _read_reelmill(task: Task, rates: Mapping[str, float]) -> Outcome:
    """Spans in frames by adding up the segments' frames in order; bytes out of the tars by the index."""
    import pyarrow.parquet as pq

    run = task.folder / "run"
    named = {row["video_id"]: row for row in pq.read_table(run / "catalog" / "videos.parquet").to_pylist()}
    files: dict[str, Path] = {}
    (task.folder / "unpacked").mkdir()
    for index in (run / "dataset").glob("index/**/*.parquet"):
        for row in pq.read_table(index).to_pylist():
            path = files[row["key"]] = task.folder / "unpacked" / f"{row['key']}.mp4"
            with (run / "dataset" / row["shard"]).open("rb") as tar:
                tar.seek(row["mp4_offset"])
                path.write_bytes(tar.read(row["mp4_size"]))
    clips: list[MadeClip] = []
    places: dict[str, int] = {}
    table = pq.read_table(run / "catalog" / "clips.parquet").to_pylist()
    for row in sorted(table, key=lambda row: (row["video_id"], row["start_pts"])):
        name = Path(named[row["video_id"]]["uri"]).name
        start = places.get(name, 0)
        places[name] = start + (row["num_frames"] or 0)
        if row["status"] == "kept":
            clips.append(MadeClip(name, start, places[name], files.get(row["clip_id"])))
    # Each frame that a decode shows is in one row: kept, rejected or failed.
    whole = {path.name for path in task.videos if places.get(path.name) == len(source_frames(path))}
    return clips, whole | {Path(row["uri"]).name for row in named.values() if row["status"] != "ok"}


SYSTEMS = {
    "reelmill": System(
        "reelmill", False, "shots, motion, light, borders, hashes, copy, verify, shards",
        functools.partial(_reelmill, "copy"), _read_reelmill,
    ),
    "reelmill encode": System(
        "reelmill encode", True, "the same, encoded", functools.partial(_reelmill, "encode"), _read_reelmill
    ),
    "pyscenedetect copy": System(
        "pyscenedetect copy", False, "shots, copy, one tar",
        functools.partial(_pyscenedetect, "copy"), _read_pyscenedetect,
    ),
    "pyscenedetect encode": System(
        "pyscenedetect encode", True, "shots, encode, one tar",
        functools.partial(_pyscenedetect, "encode"), _read_pyscenedetect,
    ),
    "data_juicer": System("data_juicer", True, "shots, encode, motion, JSONL", _data_juicer, _read_data_juicer),
    "video2dataset": System("video2dataset", True, "shots, encode, shards", _video2dataset, _read_video2dataset),
    "nemo_curator": System("nemo_curator", True, "fixed stride, encode, motion", _nemo_curator, _read_nemo_curator),
}  # fmt: skip


def clear(folder: Path) -> Path:
    """An empty folder in place of what was there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
