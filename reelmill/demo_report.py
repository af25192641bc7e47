"""The demo's report: the whole chain on one page, from raw video to what the oracle reads in the samples."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from curate.report.facts import flat
from curate.report.page import render_page
from curate.report.text import visible
from curate.rundir import write_text
from reelmill.curves import curve
from reelmill.pictures import picture_uri

ORACLE_QUESTIONS = ("colour", "kind", "direction", "all")
PRINTED = ("oracle", "chance", "captioner", "gates", "real_clips", "commands")  # straight from the facts


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
        "curve": curve(facts.get("loss_curve") or []),
        "sheet": _picture(facts.get("contact_sheet"), path),
        "gifs": _animations(facts.get("gifs") or [], path),
        "links": _links(facts.get("curation_report")),
        "machine": flat(facts.get("machine") or {}),
        "versions": flat(facts.get("versions") or {}),
    }
    write_text(path, render_page("demo_report.html.j2", page, [Path(__file__).resolve().parent]))
    return path


def _animations(items: Sequence[Mapping[str, Any]], page: Path) -> list[tuple[str, str]]:
    pictures = ((str(item.get("prompt", "")), _picture(item.get("path"), page)) for item in items)
    return [(prompt, picture) for prompt, picture in pictures if picture]


def _picture(source: str | Path | None, page: Path) -> str:
    """A picture file (beside the page if relative) as a data URI; "" if there is none."""
    if source is None:
        return ""
    return picture_uri(page.parent / source)


def _links(reports: str | Mapping[str, str] | None) -> list[tuple[str, str]]:
    """Names and targets of links that stay below the page's folder: no scheme, no host, no way up."""
    named = reports if isinstance(reports, Mapping) else {"its own report": reports or ""}
    return [(name, visible(target)) for name, target in named.items() if _is_below(target)]


def _is_below(target: str) -> bool:
    return bool(target) and ":" not in target and not target.startswith(("/", "\\")) and ".." not in Path(target).parts
