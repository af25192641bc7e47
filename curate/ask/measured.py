"""What each video of a finished run with one video per part cost and gave, from the files of the run."""

from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from curate.modelling import models_name
from curate.parts import finished_parts
from curate.pipeline import Pipeline
from curate.report.data import load_run, seconds, texts
from curate.rundir import RunDir, read_json
from shards.format.index import read_index
from shards.schema import STATUS_KEPT, STATUS_OK, strings
from shards.storage.store import open_store
from shards.versions.manifest import Manifest


@dataclass(frozen=True)
class Measured:
    """One video's share of a run.

    Attributes:
        media_cpu_s: CPU of probe, scan, scores and, by kept seconds, of cutting and packing.
        model_cpu_s: CPU of model stages, their start-up apart.
        model_wall_s: their wall time: what they hold a GPU for, if they run on one.
        input_s: demuxed seconds; 0 if unreadable.
        kept_s: seconds of kept clips.
        dataset_bytes: its part of the published shards.
        run_bytes: its part files, the spooled model frames among them.
    """

    media_cpu_s: float = 0.0
    model_cpu_s: float = 0.0
    model_wall_s: float = 0.0
    input_s: float = 0.0
    kept_s: float = 0.0
    dataset_bytes: float = 0.0
    run_bytes: float = 0.0

    def plus(self, **values: float) -> "Measured":
        """With these numbers added."""
        return Measured(**{name: getattr(self, name) + values.get(name, 0.0) for name in vars(self)})


def measure(root: Path, pipeline: Pipeline) -> dict[str, Measured]:
    """uri -> numbers of every input of a run whose parts hold one video each."""
    run, run_dir = load_run(root), RunDir(root)
    found = {row["uri"]: Measured() for row in run.videos.select(["uri"]).to_pylist()}
    for name in finished_parts(run_dir):
        (uri,) = pq.read_table(run_dir.part("videos", name), columns=["uri"])["uri"].to_pylist()
        found[uri] = found[uri].plus(**_part_costs(run_dir, name, pipeline))
    uri_of = {row["video_id"]: row["uri"] for row in run.videos.to_pylist() if row["status"] == STATUS_OK}
    for uri, input_s in zip(run.videos["uri"].to_pylist(), np.nan_to_num(seconds(run.videos)).tolist(), strict=True):
        found[uri] = found[uri].plus(input_s=input_s)
    kept_s = dict.fromkeys(uri_of.values(), 0.0)
    clips = run.clips.filter(texts(run.clips, "status") == STATUS_KEPT)
    for video_id, clip_s in zip(strings(clips, "video_id"), seconds(clips).tolist(), strict=True):
        kept_s[uri_of[video_id]] += clip_s
    pack_s = sum(step["cpu_s"] for step in run.metrics["steps"] if step["step"] == "pack")
    for uri, clip_s in kept_s.items():
        found[uri] = found[uri].plus(kept_s=clip_s, media_cpu_s=pack_s * clip_s / (sum(kept_s.values()) or 1))
    for video_id, num_bytes in _dataset_bytes(run_dir, run.manifest).items():
        found[uri_of[video_id]] = found[uri_of[video_id]].plus(dataset_bytes=num_bytes)
    return found


def as_array(items: list[Measured]) -> np.ndarray:
    """Numbers in the order of the fields, float64, shape (measures, videos)."""
    return np.array([astuple(item) for item in items], float).T.reshape(len(vars(Measured())), len(items))


def _part_costs(run_dir: RunDir, name: str, pipeline: Pipeline) -> dict[str, float]:
    models = models_name(name, pipeline)
    costs = run_dir.costs("scan", name), run_dir.costs("models", models)
    scan, model = (read_json(path)["steps"].values() for path in costs)
    files = [run_dir.part(step, name) for step in ("videos", "clips", "frames")] + [run_dir.part("models", models)]
    return {
        "media_cpu_s": sum(entry["cpu_s"] for entry in scan),
        "model_cpu_s": sum(entry["cpu_s"] for entry in model),
        "model_wall_s": sum(entry["wall_s"] for entry in model),
        "run_bytes": sum(path.stat().st_size for path in files),
    }


def _dataset_bytes(run_dir: RunDir, manifest: Manifest | None) -> dict[str, float]:
    """video_id -> its share of the newest version's tars and indexes, by bytes of .mp4."""
    store, found = open_store(run_dir.dataset), dict[str, float]()
    for commit in manifest.shards if manifest else ():
        rows = read_index(store.get(commit.index.path), ["video_id", "mp4_size"]).to_pylist()
        weight = (commit.shard.size_bytes + commit.index.size_bytes) / (sum(row["mp4_size"] for row in rows) or 1)
        for row in rows:
            found[row["video_id"]] = found.get(row["video_id"], 0.0) + row["mp4_size"] * weight
    return found
