"""From decided rows to a version: which shards stand, which are to be packed, and what is published in the end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute

from curate.clips.cut import VERSION
from curate.config import CurateConfig
from curate.media.tools import ffmpeg_builds
from curate.pack import PUBLISHED, ShardTask, packed_record, plan_shards
from curate.pipeline import Pipeline
from curate.reuse import find_reuse, with_source
from curate.rundir import RunDir
from curate.table_digest import table_digest
from shards.errors import ContractError
from shards.format.commit import Commit, read_commit
from shards.format.index import read_index
from shards.ids import digest
from shards.schema import DECISION, STATUS_KEPT, STATUS_OK, strings
from shards.storage.store import open_store
from shards.versions.manifest import Manifest
from shards.versions.publish import publish

pc: Any = pyarrow.compute  # its stubs refuse the plain values that the functions take


@dataclass(frozen=True)
class Packing:
    """What is to become of the kept clips.

    Attributes:
        plan_id: hash of all that the new shards are made of.
        cut_id: hash of how clips are cut.
        tasks: the new shards.
        commits: published shards that stand as they are.
        failed: clip_id -> code of kept clips that a finished run could not cut.
    """

    plan_id: str
    cut_id: str
    tasks: Sequence[ShardTask]
    commits: Sequence[Commit]
    failed: Mapping[str, str]


def plan_packing(pipeline: Pipeline, run_dir: RunDir, clips: pa.Table, videos: pa.Table) -> Packing:
    """Published shards that stand, and shards of the kept clips that lie in none of them."""
    config = pipeline.config
    kept, videos = (
        clips.filter(pc.equal(clips["status"], STATUS_KEPT)),
        videos.filter(pc.equal(videos["status"], STATUS_OK)),
    )
    cut_id = digest([VERSION, config.cut.resolved(), ffmpeg_builds(config.media.ffmpeg)])
    reuse = find_reuse(run_dir, kept, videos, config.cut, cut_id)
    known = pc.is_in(kept["clip_id"], value_set=pa.array(list(reuse.failed), pa.string())).to_numpy()
    failed = {key: reuse.failed[key] for key in strings(kept.filter(pa.array(known & ~reuse.held_N)), "clip_id")}
    rest = kept.filter(pa.array(~known & ~reuse.held_N))
    rows = table_digest(with_source(rest, videos).drop_columns([*DECISION.names, "error", "not_scored"]))
    plan_id = digest([rows, cut_id, config.pack.resolved()])
    return Packing(plan_id, cut_id, plan_shards(rest, videos, config.pack, config.cut), reuse.commits, failed)


def publish_packed(config: CurateConfig, run_dir: RunDir, packing: Packing, clips: pa.Table) -> Manifest | None:
    """The next version of the kept clips, of each dataset; None if no clip became a sample: a problem of its own.

    Returns:
        That of `dataset`, which is published last.

    Raises:
        ContractError: a shard that was packed is not in its dataset.
    """
    made = [number for number in range(len(packing.tasks)) if _num_samples(run_dir, packing.plan_id, number)]
    wanted = [(commit.plan_id, commit.shard_no) for commit in packing.commits]
    wanted += [(packing.plan_id, number) for number in made]
    kept = clips.filter(pc.equal(clips["status"], STATUS_KEPT))["clip_id"].combine_chunks()
    manifest = None
    for name in list(config.cut.targets)[::-1] if wanted else ():
        dataset = run_dir.dataset_of(name)
        commits = [commit for one in wanted if (commit := read_commit(dataset, *one)) is not None]
        if len(commits) < len(wanted):
            raise ContractError(f"dataset {dataset} lacks packed shards; nothing may remove them; rerun the command")
        manifest = publish(dataset, commits, config.data_config(), config.split, kept)
    return manifest


def _num_samples(run_dir: RunDir, plan_id: str, number: int) -> int:
    record = packed_record(run_dir, plan_id, number)
    return record["num_samples"] if record else 0


def costs_of(run_dir: RunDir, commits: Sequence[Commit], kept: pa.Array) -> list[dict[str, Any]]:
    """What it cost to make these shards, as far as they were packed here; of frames published, those of kept clips.

    Args:
        run_dir: where they were packed.
        commits: published shards that stand.
        kept: clip_id of what is published now.
    """
    found = []
    for commit in commits:
        record = packed_record(run_dir, commit.plan_id, commit.shard_no)
        if record is None:
            continue
        index = read_index(open_store(run_dir.dataset).get(commit.index.path), ["key", "cut_mode", "num_frames"])
        still = index.filter(pc.is_in(index["key"], value_set=kept))
        if len(still) < len(index):
            record = record | {"frames": _published(record["frames"], still)}
        found.append(record)
    return found


def _published(frames: Mapping[str, int], still: pa.Table) -> dict[str, int]:
    """Frame counts of a shard of which some samples are published no more; why one was encoded is not in its index."""
    counts = {name: number for name, number in frames.items() if not name.startswith(PUBLISHED)}
    for row in still.group_by("cut_mode").aggregate([("num_frames", "sum")]).to_pylist():
        counts[f"{PUBLISHED}{row['cut_mode']}"] = row["num_frames_sum"]
    return counts
