"""The demo's report: the whole chain on one page, from raw video to what the oracle reads in the samples."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from curate.report.facts import flat
from curate.report.page import render_page
from curate.report.text import visible
from curate.rundir import write_text

ORACLE_QUESTIONS = ("colour", "kind", "direction", "all")
PRINTED = ("oracle", "chance", "captioner", "gates", "real_clips", "commands")  # straight from the facts
MAX_CURVE_POINTS = 240
PICTURE_TYPES = {".png": "png", ".gif": "gif", ".webp": "webp", ".jpg": "jpeg", ".jpeg": "jpeg"}


@dataclass(frozen=True)
class Curve:
    """A training loss for the template.

    Attributes:
        points: "x,y x,y …" in percent, means of equal stretches of steps; y grows downwards.
        smooth: the same, smoothed.
        low, high: the loss at the lower and upper edge.
        last_step: right end of the axis.
        last_loss: smoothed loss at the end.
    """

    points: str
    smooth: str
    low: float
    high: float
    last_step: int
    last_loss: float


def write_demo_report(path: Path, facts: Mapping[str, Any]) -> Path:
    """Write the page; returns its path.

    Args:
        path: the HTML file; pictures become part of it.
        facts: what was measured; every key may be absent, and its section then says so or is left out. `title`,
            `steps` [{name, what, wall_s, numbers}], `captioner` {colour, kind, direction, joint, clips},
            `oracle` [{prompts, n, colour, kind, direction, all}], `chance` {colour, kind, direction},
            `gates` [{name, value, limit, ok}], `loss_curve` [[step, loss]], `contact_sheet` path,
            `gifs` [{prompt, path}], `curation_report` path relative to the page (or {name: path}),
            `real_clips` [{uri, segments, kept, note}], `commands` [text], `versions`, `machine`.
    """
    page = {
        "facts": dict.fromkeys(PRINTED) | dict(facts),
        "title": facts.get("title") or "From raw video to a model that paints what it is told",
        "questions": [name for name in ORACLE_QUESTIONS if any(name in line for line in facts.get("oracle") or [])],
        "steps": [step | {"numbers": flat(step.get("numbers") or {})} for step in facts.get("steps") or []],
        "total_s": sum(step.get("wall_s") or 0 for step in facts.get("steps") or []),
        "curve": loss_curve(facts.get("loss_curve") or []),
        "sheet": _picture(facts.get("contact_sheet"), path),
        "gifs": _animations(facts.get("gifs") or [], path),
        "links": _links(facts.get("curation_report")),
        "machine": flat(facts.get("machine") or {}),
        "versions": flat(facts.get("versions") or {}),
    }
    write_text(path, render_page("demo_report.html.j2", page, [Path(__file__).resolve().parent]))
    return path


def loss_curve(pairs: Sequence[Sequence[float]]) -> Curve | None:
    """Points over an axis from 0 to the highest smoothed loss; None for fewer than two finite losses."""
    table = np.array([pair for pair in pairs if np.isfinite(pair).all()], dtype=np.float64).reshape(-1, 2)
    if len(table) < 2:
        return None
    means = np.array([stretch.mean(axis=0) for stretch in np.array_split(table, min(len(table), MAX_CURVE_POINTS))])
    step, loss = means.T
    smooth = _smoothed(loss)
    low, high = min(0.0, float(smooth.min())), max(float(smooth.max()), 1e-12)
    x = 100 * (step - step[0]) / max(step[-1] - step[0], 1e-12)
    raw, soft = (_points(x, (values - low) / (high - low)) for values in (loss, smooth))
    return Curve(raw, soft, low, high, int(table[-1, 0]), float(smooth[-1]))


def _smoothed(loss: np.ndarray, weight: float = 0.8) -> np.ndarray:
    """Exponential mean, corrected for its start (Adam, equation for the bias-corrected moment)."""
    mean, smooth = 0.0, []
    for index, value in enumerate(loss, start=1):
        mean = weight * mean + (1 - weight) * value
        smooth.append(mean / (1 - weight**index))
    return np.array(smooth)


def _points(x: np.ndarray, height: np.ndarray) -> str:
    y = 100 * (1 - np.clip(height, 0, 1))
    return " ".join(f"{a:.2f},{b:.2f}" for a, b in zip(x, y, strict=True))


def _animations(items: Sequence[Mapping[str, Any]], page: Path) -> list[tuple[str, str]]:
    pictures = ((str(item.get("prompt", "")), _picture(item.get("path"), page)) for item in items)
    return [(prompt, picture) for prompt, picture in pictures if picture]


def _picture(source: str | Path | None, page: Path) -> str:
    """A picture file (beside the page if relative) as a data URI; "" if there is none."""
    if source is None:
        return ""
    file = page.parent / source
    if not file.is_file() or file.suffix.lower() not in PICTURE_TYPES:
        return ""
    return f"data:image/{PICTURE_TYPES[file.suffix.lower()]};base64," + base64.b64encode(file.read_bytes()).decode()


def _links(reports: str | Mapping[str, str] | None) -> list[tuple[str, str]]:
    """Names and targets of links that stay below the page's folder: no scheme, no host, no way up."""
    named = reports if isinstance(reports, Mapping) else {"its own report": reports or ""}
    return [(name, visible(target)) for name, target in named.items() if _is_below(target)]


def _is_below(target: str) -> bool:
    return bool(target) and ":" not in target and not target.startswith(("/", "\\")) and ".." not in Path(target).parts
