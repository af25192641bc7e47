"""The tables of the report: inputs by kind, failed inputs, costs, the dataset. All but the catalog may be absent."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from curate.report.data import RunData, seconds, texts
from curate.report.text import number, size
from shards.schema import STATUS_FAILED

MAX_FAILED_ROWS = 200
MAX_GROUPS = 12
FRAME_ORDER = ("source", "decoded_keyframes", "decoded_scan", "decoded_verify", "encoded")
_RATE = ("rate_num", "rate_den", "is_vfr")


@dataclass(frozen=True)
class Group:
    """Inputs that share a property."""

    name: str
    videos: int
    seconds: float


@dataclass(frozen=True)
class Failure:
    """One input that could not be used."""

    uri: str
    code: str
    detail: str
    size_bytes: int | None


@dataclass(frozen=True)
class StepCost:
    """What one step cost, over all its items."""

    name: str
    items: int | None
    cpu_s: float | None
    wall_s: float | None


@dataclass(frozen=True)
class SavedWork:
    """Clips that a model stage saw and was spared, of all candidates, and the CPU seconds that this saved."""

    name: str
    seen: int
    spared: int
    total: int
    saved_s: float | None


@dataclass(frozen=True)
class FrameCost:
    """Frames that were decoded or encoded, and how many per frame of the source."""

    name: str
    frames: int
    per_source_frame: float | None


def input_groups(run: RunData) -> dict[str, list[Group]]:
    """Readable inputs by codec, container, picture size, rate and pixel format; most seconds first."""
    readable = texts(run.videos, "codec") != ""
    table = run.videos.filter(readable)
    rows = table.select([*_RATE, "codec", "container", "width", "height", "pix_fmt"]).to_pylist()
    lengths_s = np.nan_to_num(seconds(table)).tolist()
    names = {
        "codec": [row["codec"] for row in rows],
        "container": [row["container"] or "unknown" for row in rows],
        "size": [f"{row['width']}×{row['height']}" for row in rows],
        "rate": [_rate(row) for row in rows],
        "pixel format": [row["pix_fmt"] or "unknown" for row in rows],
    }
    return {title: _groups(values, lengths_s) for title, values in names.items()}


def failures(run: RunData) -> list[Failure]:
    """Inputs that failed as a whole, by code and uri, at most `MAX_FAILED_ROWS`."""
    failed = run.videos.filter(texts(run.videos, "status") == STATUS_FAILED)
    rows = failed.sort_by([("error", "ascending"), ("uri", "ascending")]).slice(0, MAX_FAILED_ROWS)
    return [
        Failure(row["uri"] or "", row["error"] or "unnamed", row["error_detail"] or "", row["size_bytes"])
        for row in rows.to_pylist()
    ]


def score_errors(run: RunData) -> list[tuple[str, int]]:
    """Codes of scores that could not be computed, most frequent first."""
    codes = Counter(code for cell in texts(run.candidates, "error") for code in cell.split(";") if code)
    return codes.most_common()


def step_costs(run: RunData) -> list[StepCost]:
    """CPU and wall time per step; [] if the run has no metrics."""
    steps = run.metrics.get("steps") or []
    return [
        StepCost(str(step.get("step", "?")), step.get("items"), step.get("cpu_s"), step.get("wall_s"))
        for step in steps
        if isinstance(step, Mapping)
    ]


def saved_work(run: RunData) -> list[SavedWork]:
    """Clips that each model stage saw, and those it did not have to see because an earlier rule drops them."""
    total = len(run.candidates)
    cells = Counter(texts(run.candidates, "not_scored"))
    costs = {cost.name: cost.cpu_s / cost.items for cost in step_costs(run) if cost.cpu_s is not None and cost.items}
    saved = []
    for step in run.plan.get("steps", []):
        if step.get("kind") == "model" and step.get("adds"):
            skipped = sum(number for cell, number in cells.items() if step["adds"][0] in cell.split(";"))
            name = str(step.get("name", "?"))
            saved_s = skipped * costs[name] if name in costs else None
            saved.append(SavedWork(name, total - skipped, skipped, total, saved_s))
    return saved


def model_order(run: RunData) -> str:
    """Why the models ran in their order, as a sentence; "" if there was no choice."""
    found = run.plan.get("model_order") or {}
    if not found.get("s_per_candidate"):
        return ""
    before_s, after_s = found["s_per_candidate_configured"], found["s_per_candidate"]
    costs = ", ".join(f"{name} {1000 * cost_s:,.1f} ms" for name, cost_s in found["s_per_clip"].items())
    drops = ", ".join(f"{name} {100 * share:.0f} %" for name, share in found["pass_share"].items())
    order = ", ".join(found["models"])
    return (
        f"Order: {order}. The first videos showed per clip {costs}; of the rules' clips pass {drops}. "
        f"Expected per candidate: {1000 * after_s:,.1f} ms; in the configured order {1000 * before_s:,.1f} ms."
    )


def frame_costs(run: RunData) -> list[FrameCost]:
    """Decoded and encoded frames; [] if the run has no metrics."""
    frames = run.metrics.get("frames") or {}
    source = frames.get("source") or 0
    names = sorted(
        frames, key=lambda name: (FRAME_ORDER.index(name) if name in FRAME_ORDER else len(FRAME_ORDER), name)
    )
    return [
        FrameCost(name.replace("_", " "), int(frames[name]), frames[name] / source if source else None)
        for name in names
        if frames[name] is not None
    ]


def decoded_per_source_frame(run: RunData) -> float | None:
    """Frames decoded to judge the input (key frames and scan, not the check of the output) per source frame."""
    frames = run.metrics.get("frames") or {}
    decoded = [frames.get(f"decoded_{name}") for name in ("keyframes", "scan")]
    known = [count for count in decoded if count is not None]
    return sum(known) / frames["source"] if known and frames.get("source") else None


def dataset_facts(run: RunData) -> list[tuple[str, str]]:
    """What the newest version of the dataset holds; [] if nothing is published."""
    if run.manifest is None:
        return []
    manifest, stats = run.manifest, run.manifest.stats
    facts = {
        "version": manifest.version,
        "shards": len(manifest.shards),
        "clips": stats.num_samples,
        "with a caption": stats.num_captions,
        "sources": stats.num_sources,
        "frames": stats.num_frames,
        "hours": stats.hours,
        "size": size(stats.size_bytes),
        "licences": manifest.licences,
        "sha256": manifest.sha256(),
    }
    return flat(facts)


def flat(value: object, prefix: str = "") -> list[tuple[str, str]]:
    """Nested facts as rows of dotted key and text."""
    if isinstance(value, Mapping):
        return [row for key, inner in value.items() for row in flat(inner, f"{prefix}.{key}" if prefix else str(key))]
    if isinstance(value, list | tuple):
        return [(prefix, ", ".join(number(item) for item in value))]
    return [(prefix, number(value))]


def _rate(row: Mapping[str, Any]) -> str:
    if row["is_vfr"]:
        return "variable"
    if not row["rate_num"] or not row["rate_den"]:
        return "unknown"
    return f"{row['rate_num'] / row['rate_den']:.3f}".rstrip("0").rstrip(".") + " fps"


def _groups(names: Iterable[str], lengths_s: Iterable[float]) -> list[Group]:
    videos: Counter[str] = Counter()
    total_s: dict[str, float] = {}
    for name, length_s in zip(names, lengths_s, strict=True):
        videos[name] += 1
        total_s[name] = total_s.get(name, 0.0) + length_s
    groups = sorted((Group(name, videos[name], total_s[name]) for name in videos), key=lambda group: -group.seconds)
    rest = groups[MAX_GROUPS:]
    if rest:
        others = Group(f"{len(rest)} others", sum(group.videos for group in rest), sum(group.seconds for group in rest))
        return [*groups[:MAX_GROUPS], others]
    return groups
