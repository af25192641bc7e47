"""Which inputs share a part, and the rows of all parts: a part is found by its inputs, whatever came or went since.

A part file keeps what was made of a few inputs. The next run looks every input up by its key (uri, size, time of
change, what came with it, options of the scan); only those that no finished part holds become new parts, in order of
their uris. So one more input is one more scan. Rows of inputs that are gone are left out when the parts are read.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from curate.decision.early import judge_videos
from curate.decision.rules import Rule
from curate.inputs.ingest import input_identity
from curate.inputs.states import remote_states
from curate.inputs.uris import is_remote
from curate.pipeline import Pipeline
from curate.rundir import Part, RunDir, read_json
from shards.ids import digest
from shards.schema import STATUS_OK, strings

pc: Any = pyarrow.compute  # its stubs refuse the plain values that the functions take

KEY_DIGITS = 16
SMALL_BYTES = 256 << 10  # a file of this size or more counts as one video of its part
TINY_PER_VIDEO = 16  # the smallest files count so much less


def plan_parts(inputs: pa.Table, pipeline: Pipeline, run_dir: RunDir) -> list[Part]:
    """The parts that hold all inputs: finished ones as far as they go, new ones for the rest.

    Args:
        inputs: rows of VIDEO as ingest made them, by uri.
        pipeline: its options are part of every key.
        run_dir: where finished parts lie.
    """
    remote = [uri for uri in strings(inputs.filter(pc.is_null(inputs["status"])), "uri") if is_remote(uri)]
    states = remote_states(remote, run_dir, pipeline.config.ingest.private_hosts)
    rows = (row for batch in inputs.to_batches(1024) for row in batch.to_pylist())
    identities = [input_identity(row, states.get(row["uri"])) for row in rows]
    keys = [input_key(identity, pipeline.scan_identity) for identity in identities]
    size = pipeline.config.run.part_videos
    weights = [weight(identity.get("size_bytes", 0)) if size > 1 else 1.0 for identity in identities]
    row_of = {key: row for row, key in enumerate(keys)}
    parts = []
    for name in finished_parts(run_dir):
        found = _usable(run_dir, name, row_of, pipeline.video_rules)
        if found:
            rows = [row_of.pop(key) for key in found]
            parts.append(Part(name, inputs.take(rows), tuple(found)))
    for rows in group_rows(sorted(row_of.values()), weights, size):
        own = tuple(keys[row] for row in rows)
        name = digest([own, *((rule.name, rule.expression) for rule in pipeline.video_rules)])  # decide what is scanned
        parts.append(Part(name[:KEY_DIGITS], inputs.take(rows), own))  # a slice would be sent as the whole table
    return parts


def input_key(identity: Mapping[str, Any], scan_identity: str) -> str:
    """Key of an input: what identifies it unread, and what the scan's rows depend on."""
    return digest([identity, scan_identity])[:KEY_DIGITS]


def weight(size_bytes: int) -> float:
    """What an input counts in its part: tiny files share one, because a part's own files cost more than they do."""
    return min(1.0, max(1 / TINY_PER_VIDEO, size_bytes / SMALL_BYTES))


def group_rows(rows: Iterable[int], weights: Sequence[float], size: float) -> list[list[int]]:
    """Consecutive rows; a group is closed before it would weigh more than `size`."""
    groups: list[list[int]] = []
    total = size
    for row in rows:
        if total + weights[row] > size:
            groups.append([])
            total = 0.0
        groups[-1].append(row)
        total += weights[row]
    return groups


def finished_parts(run_dir: RunDir) -> list[str]:
    """Names of parts whose scan is complete, sorted."""
    named = (path.stem.removeprefix("scan-") for path in run_dir.costs("scan", "*").parent.glob("scan-*.json"))
    return sorted(name for name in named if run_dir.part("videos", name).is_file())


def read_parts(
    run_dir: RunDir, parts: Sequence[Part], clip_files: Sequence[str], rules: Sequence[Rule]
) -> tuple[pa.Table, pa.Table]:
    """Rows of VIDEO by uri, judged by the rules over key frames, and the clips of those that are ok, in their order.

    A file at several uris has its clips from the part of its first uri.

    Args:
        run_dir: where the parts lie.
        parts: finished parts with the inputs that count.
        clip_files: name of each part's `models` file.
        rules: over key frames.
    """
    videos, clips = [], []
    for number, (part, file) in enumerate(zip(parts, clip_files, strict=True)):
        own = pq.read_table(run_dir.part("videos", part.name))
        own = own.filter(pc.is_in(own["uri"], value_set=part.videos["uri"].combine_chunks()))
        videos.append(_numbered(own, number))
        clips.append(_numbered(pq.read_table(run_dir.part("models", file)), number))
    rows = judge_videos(pa.concat_tables(videos).sort_by("uri"), rules)
    return rows.drop_columns("part"), _owned(rows, pa.concat_tables(clips)).drop_columns("part")


def remove_other_parts(run_dir: RunDir, parts: Iterable[Part], clip_files: Iterable[str]) -> int:
    """Remove the files of parts that a finished run did not use; returns how many."""
    scans, models = {part.name for part in parts}, set(clip_files)
    wanted = {run_dir.part(step, name) for step in ("videos", "clips", "frames") for name in scans}
    wanted |= {run_dir.part("models", name) for name in models}
    wanted |= {run_dir.costs("scan", name) for name in scans} | {run_dir.costs("models", name) for name in models}
    folders = [run_dir.part(step, "*").parent for step in ("videos", "clips", "frames", "models")]
    there = [path for folder in (*folders, run_dir.costs("scan", "*").parent) for path in folder.glob("*")]
    others = [path for path in there if path not in wanted]
    for path in others:
        path.unlink()
    return len(others)


def _usable(run_dir: RunDir, name: str, wanted: Mapping[str, int], rules: Sequence[Rule]) -> list[str]:
    """Keys of a part's inputs whose rows can stay as they are."""
    inputs = read_json(run_dir.costs("scan", name)).get("inputs", [])
    gone = {item["video_id"] for item in inputs if item["key"] not in wanted}
    # A file that is also at a uri that is gone may have that one's caption: it is done anew.
    found = [item for item in inputs if item["key"] in wanted and (item["video_id"] or "") not in gone]
    if any(item["stopped"] for item in found):
        videos = judge_videos(pq.read_table(run_dir.part("videos", name)), rules)
        open_uris = set(strings(videos.filter(_lacks_scan(videos)), "uri"))
        found = [item for item in found if item["uri"] not in open_uris]
    return [item["key"] for item in found]


def _lacks_scan(videos: pa.Table) -> pa.ChunkedArray:
    """Videos that no rule over key frames stops any more, and that were never scanned."""
    return pc.and_(pc.equal(videos["status"], STATUS_OK), pc.is_null(videos["num_frames"]))


def _owned(videos: pa.Table, clips: pa.Table) -> pa.Table:
    """Clips of the videos' own parts, in the order of the videos and of time."""
    scanned = videos.filter(pc.equal(videos["status"], STATUS_OK))
    if not len(scanned):
        return clips.slice(0, 0)
    ids = scanned["video_id"].combine_chunks()
    owner = pc.index_in(clips["video_id"].combine_chunks(), value_set=ids)  # the first uri with these bytes
    owner_N = owner.fill_null(0).to_numpy()
    is_own = scanned["part"].to_numpy()[owner_N] == clips["part"].to_numpy()
    rows = np.flatnonzero(is_own & owner.is_valid().to_numpy(zero_copy_only=False))
    return clips.take(rows[np.lexsort((clips["start_pts"].to_numpy()[rows], owner_N[rows]))])


def _numbered(table: pa.Table, number: int) -> pa.Table:
    return table.append_column("part", pa.array(np.full(len(table), number)))
