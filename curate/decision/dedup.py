"""Exact duplicates: files with equal bytes, and clips with equal frames in different files."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from curate.columns import with_columns
from curate.stage import GatherStage
from shards.schema import STATUS_OK, STATUS_REJECTED, column

pc: Any = pyarrow.compute  # its stubs refuse the plain values that the functions take

EXACT_DUPLICATE = "exact_duplicate"


class ExactDuplicates(GatherStage):
    """Groups of clips whose small frames and times are equal; the smallest clip_id keeps its group's place."""

    name, version = "exact_duplicates", 1
    reads = ("frames_xxh3",)
    adds = pa.schema(
        [
            column("dup_group", pa.string(), "", "clip_id of the keeper of clips with equal frames; its own if alone."),
            column("is_duplicate", pa.bool_(), "", "Another clip has the same frames and is the keeper."),
        ]
    )

    def gather(self, clips: pa.Table) -> pa.Table:
        """All rows, with the columns of `adds`: null where there is no hash."""
        hashes = clips["frames_xxh3"].combine_chunks()
        keepers = clips.group_by("frames_xxh3").aggregate([("clip_id", "min")])
        group = keepers["clip_id_min"].combine_chunks().take(pc.index_in(hashes, keepers["frames_xxh3"]))
        group = pc.if_else(hashes.is_valid(), group, pa.scalar(None, pa.string()))
        is_duplicate = pc.not_equal(group, clips["clip_id"].combine_chunks())
        for field, values in zip(self.adds, (group, is_duplicate), strict=True):
            clips = clips.append_column(field, values)
        return clips


def mark_duplicate_videos(videos: pa.Table, clips: pa.Table) -> tuple[pa.Table, pa.Table]:
    """A file that occurs at several uris stays at the first one, by uri; the others' rows are rejected as duplicates.

    Only videos that were scanned count. Their segments, which are the same at every uri, are kept once.

    Args:
        videos: rows of VIDEO, one per uri.
        clips: rows of CLIP and further columns.

    Returns:
        Both tables, rows in the same order.
    """
    order = pc.sort_indices(videos, sort_keys=[("uri", "ascending")])
    again = pc.and_(pc.equal(videos["status"], STATUS_OK), pa.array(_is_repeated(videos, order.to_numpy())))
    status = pc.if_else(again, pa.scalar(STATUS_REJECTED), videos["status"])
    drop_rule = pc.if_else(again, pa.scalar(EXACT_DUPLICATE), videos["drop_rule"])
    return with_columns(videos, [("status", status), ("drop_rule", drop_rule)]), _once(clips)


def _is_repeated(videos: pa.Table, order: np.ndarray) -> np.ndarray:
    """For each row whether a scanned row before it in `order` has the same video_id."""
    ids, statuses = videos["video_id"].to_pylist(), videos["status"].to_pylist()
    seen: set[str] = set()
    repeated = np.zeros(len(videos), bool)
    for row in order.tolist():
        if statuses[row] == STATUS_OK:
            repeated[row] = ids[row] in seen
            seen.add(ids[row])
    return repeated


def _once(clips: pa.Table) -> pa.Table:
    numbered = clips.select(["clip_id"]).append_column("row", pa.array(np.arange(len(clips))))
    first = numbered.group_by("clip_id").aggregate([("row", "min")])["row_min"]
    return clips.take(first.combine_chunks().sort())
