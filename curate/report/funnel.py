"""The funnel: where every second of input went, in the order in which it was decided."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from curate.report.data import RunData, seconds, texts
from shards.schema import SEGMENT_CLIP, STATUS_FAILED, STATUS_KEPT, STATUS_REJECTED

SEGMENT_PREFIX = "segment_"


@dataclass(frozen=True)
class FunnelRow:
    """One way out of the funnel.

    Attributes:
        name: rule, segment reason or failure code.
        kind: rejected or failed.
        level: what went: video, segment (no candidate to begin with) or clip.
        step: pipeline step at which the rule was evaluated, "" if unknown.
        rule: the rule's expression, "" if the reason is none.
        count, removed_s: videos, segments or clips that went, and their seconds.
        left_s: seconds that were left afterwards.
    """

    name: str
    kind: str
    level: str
    step: str
    rule: str
    count: int
    removed_s: float
    left_s: float


@dataclass(frozen=True)
class Funnel:
    """Totals over demuxed pts, in seconds, and the ways out.

    Attributes:
        unknown: failed inputs whose length nobody knows.
        candidate_s, num_candidates: clips that the rules saw.
    """

    input_s: float
    kept_s: float
    rejected_s: float
    failed_s: float
    unknown: int
    num_videos: int
    num_failed_videos: int
    num_candidates: int
    num_kept: int
    rows: list[FunnelRow]


def funnel(run: RunData) -> Funnel:
    """Count every second of the run once: by its video if that went as a whole, by its segment otherwise."""
    video_s, video_status = seconds(run.videos), texts(run.videos, "status")
    ways = [*_video_ways(run, video_s), *_segment_ways(run)]
    input_s = float(np.nansum(video_s))
    rows, left_s = [], input_s
    for way in ways:
        left_s -= way["removed_s"]
        rows.append(FunnelRow(**way, left_s=max(left_s, 0.0)))
    clip_kept = texts(run.clips, "status") == STATUS_KEPT
    return Funnel(
        input_s=input_s,
        kept_s=float(seconds(run.clips)[clip_kept].sum()),
        rejected_s=sum(row.removed_s for row in rows if row.kind == STATUS_REJECTED),
        failed_s=sum(row.removed_s for row in rows if row.kind == STATUS_FAILED),
        unknown=int(((video_status == STATUS_FAILED) & ~np.isfinite(video_s)).sum()),
        num_videos=len(run.videos),
        num_failed_videos=int((video_status == STATUS_FAILED).sum()),
        num_candidates=len(run.candidates),
        num_kept=int(clip_kept.sum()),
        rows=rows,
    )


def _video_ways(run: RunData, video_s: np.ndarray) -> Iterator[dict[str, Any]]:
    status = texts(run.videos, "status")
    for kind, column in ((STATUS_FAILED, "error"), (STATUS_REJECTED, "drop_rule")):
        names = np.where(status == kind, texts(run.videos, column), "")
        for name in sorted(set(names[status == kind])):
            chosen = (status == kind) & (names == name)
            yield _way(run, name, kind, "video", chosen, video_s)


def _segment_ways(run: RunData) -> Iterator[dict[str, Any]]:
    status, names = texts(run.clips, "status"), texts(run.clips, "drop_rule")
    is_clip, clip_s = texts(run.clips, "segment") == SEGMENT_CLIP, seconds(run.clips)
    for level, of_level in (("segment", ~is_clip), ("clip", is_clip)):
        for name in _in_rule_order(run, set(names[of_level & (status != STATUS_KEPT)])):
            for kind in (STATUS_REJECTED, STATUS_FAILED):
                chosen = of_level & (status == kind) & (names == name)
                if chosen.any():
                    yield _way(run, name, kind, level, chosen, clip_s)


def _in_rule_order(run: RunData, names: set[str]) -> list[str]:
    order = {name: position for position, name in enumerate(run.rules)}
    return sorted(names, key=lambda name: (order.get(name, -1), name))


def _way(run: RunData, name: str, kind: str, level: str, chosen: np.ndarray, row_s: np.ndarray) -> dict[str, Any]:
    return {
        "name": name.removeprefix(SEGMENT_PREFIX) or "unnamed",
        "kind": kind,
        "level": level,
        "step": _step_of(run, name),
        "rule": run.rules.get(name, ""),
        "count": int(chosen.sum()),
        "removed_s": float(np.nansum(row_s[chosen])),
    }


def _step_of(run: RunData, rule: str) -> str:
    for step in run.plan.get("steps", []):
        if isinstance(step, dict) and rule in (step.get("rules") or []):
            return str(step.get("name", ""))
    return ""
