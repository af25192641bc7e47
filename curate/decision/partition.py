"""Proof that the segments of each video partition its span: no gap, no overlap, nothing twice, one time base."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

pc: Any = pyarrow.compute  # its stubs refuse the plain values that the functions take

MAX_OFFENDERS = 5


def partition_offences(videos: pa.Table, clips: pa.Table) -> list[str]:
    """What breaks the partition of each video's [start_pts, end_pts) by its segments: first offenders, as sentences.

    Args:
        videos: the rows of VIDEO that were scanned.
        clips: rows of CLIP.
    """
    ids = videos["video_id"].combine_chunks()
    owners = pc.index_in(clips["video_id"], ids)
    offences = named("video", clips["video_id"].filter(owners.is_null()), "has segments, but was not scanned")
    offences += named("video", _repeated(ids), "was scanned at two uris")
    clips = clips.filter(owners.is_valid())
    owner_N = owners.drop_null().to_numpy()
    order = np.lexsort((clips["start_pts"].to_numpy(), owner_N))
    clips, owner_N = clips.take(order), owner_N[order]
    offences += named(
        "segment", clips["clip_id"].filter(_other_time_base(videos, clips, owner_N)), "has its own time base"
    )
    return offences + _breaks(videos, clips, owner_N)


def named(what: str, ids: pa.ChunkedArray, fault: str) -> list[str]:
    """The first offenders as sentences, and how many more there are."""
    offenders = list(dict.fromkeys(ids.to_pylist()))
    lines = [f"{what} {offender} {fault}" for offender in offenders[:MAX_OFFENDERS]]
    return lines + (
        [f"and {len(offenders) - MAX_OFFENDERS} more of this kind"] if len(offenders) > MAX_OFFENDERS else []
    )


def _breaks(videos: pa.Table, clips: pa.Table, owner_N: np.ndarray) -> list[str]:
    """Where the chain of segments of a video is broken; both tables in order of video and start."""
    first_pts, last_pts = videos["start_pts"].to_numpy(), videos["end_pts"].to_numpy()
    start_N, end_N = clips["start_pts"].to_numpy(), clips["end_pts"].to_numpy()
    # Each video's span is put behind its segments as one more link, so that a missing last segment is a gap as well.
    links = np.concatenate([start_N, last_pts])
    owners = np.concatenate([owner_N, np.arange(len(videos))])
    order = np.lexsort((np.arange(len(links)), owners))
    links, owners = links[order], owners[order]
    ends = np.concatenate([end_N, last_pts])[order]
    due = np.roll(ends, 1)
    begins = np.flatnonzero(np.diff(owners, prepend=-1))
    due[begins] = first_pts[owners[begins]]
    broken = np.flatnonzero(links != due)[:MAX_OFFENDERS].tolist()
    return [_break(videos, int(owners[at]), int(due[at]), int(links[at])) for at in broken]


def _break(videos: pa.Table, owner: int, due: int, link: int) -> str:
    kind = "no segment covers" if link > due else "two segments cover"
    video_id = videos["video_id"][owner]
    return f"video {video_id}: {kind} pts {min(due, link)} to {max(due, link)}"


def _repeated(ids: pa.Array) -> pa.ChunkedArray:
    counts = pa.table({"id": ids}).group_by("id").aggregate([("id", "count")])
    return counts["id"].filter(pc.greater(counts["id_count"], 1))


def _other_time_base(videos: pa.Table, clips: pa.Table, owner_N: np.ndarray) -> np.ndarray:
    names = ("time_base_num", "time_base_den")
    differs = [clips[name].to_numpy() != videos[name].to_numpy()[owner_N] for name in names]
    return np.logical_or(*differs)
