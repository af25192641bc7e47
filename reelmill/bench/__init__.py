"""Measurements against named peers and limits: `reelmill bench NAME`."""

import difflib
import importlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from shards.errors import ConfigError

BENCHES = {
    "clips": "reelmill.bench.exact_clips:measure",
    "ledger": "reelmill.bench.ledger:measure",
    "scan": "reelmill.bench.scan:measure",
    "shards": "reelmill.bench.shards:measure",
    "curate": "reelmill.bench.curate:measure",
    "train": "reelmill.bench.train:measure",
}
WITH_PEERS = ("clips", "curate", "shards", "train")  # can install what they are held against

LEVERS = {"scan": "reelmill.bench.scan_levers:measure"}


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
        floors: the promise about a figure: at least this.
    """

    bench: str
    figures: dict[str, float]
    limits: dict[str, float]
    peers: dict[str, float]
    details: dict[str, Any]
    machine: dict[str, str]
    versions: dict[str, str]
    floors: dict[str, float] = field(default_factory=dict)

    def is_met(self, name: str) -> bool:
        """Whether a figure keeps its promise; one that was not measured does not."""
        value = self.figures.get(name)
        if value is None:
            return False
        return value <= self.limits.get(name, value) and value >= self.floors.get(name, value)

    @property
    def verdicts(self) -> dict[str, str]:
        """`ok` or `MISSED` of every figure that a promise is made about."""
        return {name: "ok" if self.is_met(name) else "MISSED" for name in (*self.limits, *self.floors)}

    @property
    def missed(self) -> list[str]:
        """Figures that break their promise."""
        return [name for name, verdict in self.verdicts.items() if verdict == "MISSED"]


def run_bench(name: str, as_json: bool, peers: bool = False, levers: bool = False) -> Measurement:
    """Run a bench and print what it found: a table, or the table and one JSON object as the last line.

    Args:
        name: of the bench.
        as_json: print the JSON object too.
        peers: install the peers, each in an environment of its own below the cache folder, and measure them too.
        levers: measure what each lever of it does, instead.

    Raises:
        ConfigError: there is no such bench, or it has no peers to install.
    """
    benches = LEVERS if levers else BENCHES
    if name not in benches:
        near = difflib.get_close_matches(name, benches, n=1) or sorted(benches)
        raise ConfigError(f"bench is {name!r}; {', '.join(sorted(benches))} are allowed; try {near[0]}")
    if peers and name not in WITH_PEERS:
        raise ConfigError(f"bench is {name!r} with --peers; {', '.join(WITH_PEERS)} have peers; leave --peers out")
    module, _, function = benches[name].partition(":")
    measure: Callable[..., Measurement] = getattr(importlib.import_module(module), function)
    found = measure(peers=True) if peers else measure()
    print("\n".join(table(found)))
    if as_json:
        print(json.dumps({**asdict(found), "verdicts": found.verdicts}))
    return found


def table(found: Measurement) -> list[str]:
    """Lines for people: each figure beside its limit, then peers and details."""
    lines = [f"{'figure':<32}{'measured':>12}{'limit':>18}"]
    names = dict.fromkeys((*found.figures, *found.limits, *found.floors))
    lines += [f"{name:<32}{_cell(found.figures.get(name, '-')):>12}{_promise(found, name)}" for name in names]
    for title, values in (("peers", found.peers), ("details", found.details)):
        lines += ["", title, *(f"  {name:<40}{_cell(value):>12}" for name, value in values.items())]
    return lines


def _promise(found: Measurement, name: str) -> str:
    bounds = [f"at most {found.limits[name]:g}"] if name in found.limits else []
    bounds += [f"at least {found.floors[name]:g}"] if name in found.floors else []
    return f"{' and '.join(bounds):>18}  {found.verdicts[name]}" if bounds else ""


def _cell(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
