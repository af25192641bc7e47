"""Measurements against named peers and limits: `reelmill bench NAME`."""

import difflib
import importlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from shards.errors import ConfigError

BENCHES = {"scan": "reelmill.bench.scan:measure", "shards": "reelmill.bench.shards:measure"}


@dataclass(frozen=True)
class Measurement:
    """What a bench found.

    Attributes:
        bench: its name.
        figures: the numbers that promises are made about, by name.
        limits: the promise about a figure: at most this.
        peers: what the figures are held against, measured in the same run.
        details: whatever else was measured.
        machine, versions: where, and of what.
    """

    bench: str
    figures: dict[str, float]
    limits: dict[str, float]
    peers: dict[str, float]
    details: dict[str, Any]
    machine: dict[str, str]
    versions: dict[str, str]


def run_bench(name: str, as_json: bool) -> Measurement:
    """Run a bench and print what it found: a table, or the table and one JSON object as the last line.

    Raises:
        ConfigError: there is no such bench.
    """
    if name not in BENCHES:
        near = difflib.get_close_matches(name, BENCHES, n=1) or sorted(BENCHES)
        raise ConfigError(f"bench is {name!r}; {', '.join(sorted(BENCHES))} are allowed; try {near[0]}")
    module, _, function = BENCHES[name].partition(":")
    measure: Callable[[], Measurement] = getattr(importlib.import_module(module), function)
    found = measure()
    print("\n".join(table(found)))
    if as_json:
        print(json.dumps(asdict(found)))
    return found


def table(found: Measurement) -> list[str]:
    """Lines for people: each figure beside its limit, then peers and details."""
    lines = [f"{'figure':<32}{'measured':>12}{'at most':>12}"]
    for name, value in found.figures.items():
        limit = found.limits.get(name)
        verdict = "" if limit is None else f"{limit:>12.2f}  {'ok' if value <= limit else 'MISSED'}"
        lines.append(f"{name:<32}{value:>12.3f}{verdict}")
    for title, values in (("peers", found.peers), ("details", found.details)):
        lines += ["", title, *(f"  {name:<30}{_cell(value):>12}" for name, value in values.items())]
    return lines


def _cell(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
