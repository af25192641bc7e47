"""Progress and counts as Ray metrics: what the cluster's Prometheus endpoints show of a run, under `ray_reelmill_…`.

The driver counts an item once, when its result arrives, however often a worker died over it. Items that lay finished in
the run directory are counted as `before` and add nothing else.
"""

from collections.abc import Mapping
from typing import Any

from ray.util.metrics import Counter, Gauge


class Counters:
    """Of one run."""

    def __init__(self) -> None:
        self._total = Gauge("reelmill_items_planned", "Items of a step: parts to scan, shards to pack.", ("step",))
        self._items = Counter("reelmill_items", "Items done, now or before.", ("step", "done"))
        self._frames = Counter("reelmill_frames", "Frames by what was done to them.", ("what",))
        self._decoded = Counter("reelmill_decoded_frames", "Frames decoded, all steps.")
        self._kept = Counter("reelmill_kept", "Clips committed in shards.")
        self._failed = Counter("reelmill_failed", "Videos and clips that failed.", ("code",))
        self._cpu = Counter("reelmill_cpu_seconds", "CPU of workers and their media processes.", ("step",))

    def begin(self, step: str, total: int) -> None:
        """A step of so many items begins."""
        self._total.set(total, {"step": step})

    def scanned(self, costs: Mapping[str, Any], failed: Mapping[str, int], is_new: bool) -> None:
        """A part is through the models; `failed` is videos by code."""
        self._done("scan", costs, is_new)
        if is_new:
            for code, number in failed.items():
                self._failed.inc(number, {"code": code})

    def packed(self, record: Mapping[str, Any], is_new: bool) -> None:
        """A shard is committed."""
        self._done("pack", record, is_new)
        if is_new:
            self._add(self._kept, record["num_samples"])
            for code in record["failed"].values():
                self._failed.inc(1, {"code": code})

    def _done(self, step: str, costs: Mapping[str, Any], is_new: bool) -> None:
        self._items.inc(1, {"step": step, "done": "now" if is_new else "before"})
        if not is_new:
            return
        for what, number in costs["frames"].items():
            self._add(self._frames, number, {"what": what})
            if what.startswith("decoded"):
                self._add(self._decoded, number)
        for name, entry in costs["steps"].items():
            self._add(self._cpu, entry["cpu_s"], {"step": name})

    def _add(self, counter: Counter, number: float, tags: dict[str, str] | None = None) -> None:
        if number > 0:  # Ray refuses to add nothing
            counter.inc(number, tags or {})
