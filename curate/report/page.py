"""How every report page is rendered: escaping always on, text from data made visible, no script, no network."""

import re
from collections.abc import Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup

from curate.report.text import LONGEST_CELL, clock, duration, number, share, size, visible, visible_lines

_DATA_URI = re.compile(r"data:image/(jpeg|png|gif|webp);base64,[A-Za-z0-9+/]+={0,2}")
_POINTS = re.compile(r"[0-9., -]+")
HERE = Path(__file__).resolve().parent


def render_page(template: str, facts: dict[str, object], folders: Sequence[Path] = ()) -> str:
    """HTML of a template that stands in one of `folders` or beside this file, where `report_base.html.j2` is.

    Everything that a template prints counts as text from strangers: it goes through `visible` (control characters
    become escapes) and is HTML-escaped. Only `data_uri` and `plot_points` pass, which can hold no markup.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([str(folder) for folder in (*folders, HERE)]),
        autoescape=True,
        finalize=_finalize,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        clock=clock,
        duration=duration,
        number=number,
        share=share,
        size=size,
        basename=_basename,
        lines=_lines,
        data_uri=data_uri,
        plot_points=plot_points,
    )
    return environment.get_template(template).render(**facts)


def data_uri(text: str) -> Markup:
    """A picture's data URI, which may be long and is printed as it is because it can hold nothing else.

    Raises:
        ValueError: the text is no base64 data URI of a picture.
    """
    if not _DATA_URI.fullmatch(text):
        raise ValueError(f"picture is {text[:40]!r}; a base64 data URI is allowed; encode the picture")
    return Markup(text)


def plot_points(text: str) -> Markup:
    """Points of a curve, which may be long and are printed as they are because they can hold nothing else.

    Raises:
        ValueError: the text is no list of points.
    """
    if not _POINTS.fullmatch(text):
        raise ValueError(f"points are {text[:40]!r}; pairs x,y of numbers are allowed; build them with numbers")
    return Markup(text)


class Lines(str):
    """Text whose line breaks were left on purpose: `visible_lines` has been through it."""


def _lines(text: object) -> Lines:
    return Lines(visible_lines(text))


def _finalize(value: object) -> object:
    """Called by Jinja on everything printed, before escaping; markup made by macros passes."""
    if isinstance(value, str) and not hasattr(value, "__html__") and not isinstance(value, Lines):
        return visible(value, limit=LONGEST_CELL)
    return value


def _basename(uri: str) -> str:
    return uri.rstrip("/").rpartition("/")[2] or uri
