"""`reelmill curate forecast`: the numbers as a table and as plain values."""

from collections.abc import Iterator
from typing import Any

from curate.ask.forecast import Estimate, Forecast
from curate.report.text import size

_HOUR = 3600.0


def describe(found: Forecast) -> str:
    """A table: measured on the sample, expected of all inputs, and the interval of that."""
    tried = f"{len(found.sampled)} of {found.num_videos} videos tried, seed {found.seed}"
    lines = [f"{tried}; {found.percent:g} % intervals"]
    lines.append(f"{'':<24}{'sample':>12}{'all':>12}{'low':>12}{'high':>12}")
    for title, unit, estimate in _rows(found):
        cells = [unit(value) for value in (estimate.sample, *estimate.all)]
        lines.append(f"{title:<24}" + "".join(f"{cell:>12}" for cell in cells))
    shares = [f"{100 * value:.1f} %" for value in found.kept_share]
    sampled = found.totals["kept_s"].sample / (found.totals["input_s"].sample or 1)
    lines.append(f"{'kept share':<24}{f'{100 * sampled:.1f} %':>12}" + "".join(f"{cell:>12}" for cell in shares))
    if found.on_gpu is None:
        lines.append("GPU-hours are 0: no model stage is configured")
    elif not found.on_gpu:
        lines.append("GPU-hours are unknown: no GPU here; the models' hours above are CPU-hours of this machine")
    if found.num_unreadable:
        lines.append(f"{found.num_unreadable} inputs cannot be opened and are counted as nothing")
    lines += [f"problem in the sample's run: {problem}" for problem in found.problems]
    return "\n".join(lines)


def as_json(found: Forecast) -> dict[str, Any]:
    """All numbers, in seconds and bytes."""
    totals = {
        name: {"sample": item.sample, "rest": [item.rest, item.rest_low, item.rest_high], "all": list(item.all)}
        for name, item in found.totals.items()
    }
    names = ("num_videos", "num_unreadable", "seed", "percent", "on_gpu")
    own = {name: getattr(found, name) for name in names}
    return own | {
        "sampled": list(found.sampled),
        "strata": {name: {"videos": pair[0], "sampled": pair[1]} for name, pair in found.strata.items()},
        "totals": totals,
        "kept_share": list(found.kept_share),
        "problems": list(found.problems),
    }


def _rows(found: Forecast) -> Iterator[tuple[str, Any, Estimate]]:
    totals = found.totals
    yield "input hours", _hours, totals["input_s"]
    yield "kept hours", _hours, totals["kept_s"]
    yield "CPU-hours, media", _hours, totals["media_cpu_s"]
    if found.on_gpu:
        yield "GPU-hours, models", _hours, totals["model_wall_s"]
    yield "CPU-hours, models", _hours, totals["model_cpu_s"]
    yield "dataset", size, totals["dataset_bytes"]
    yield "run folder, parts", size, totals["run_bytes"]


def _hours(seconds: float) -> str:
    hours = seconds / _HOUR
    return f"{hours:,.0f}" if hours >= 1000 else f"{hours:.4g}"
