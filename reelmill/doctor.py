"""`reelmill doctor`: what is installed and found here, and what each missing thing would give.

Nothing heavy is imported: versions come from package metadata, and torch is asked in a process of its own.
"""

import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil
from rich.console import Group
from rich.table import Table
from rich.text import Text

from reelmill.doctor_check import Check, State
from reelmill.doctor_media import device_checks, media_checks
from reelmill.doctor_packages import package_checks

OLDEST_PYTHON = (3, 11)
MODEL_SUFFIXES = {".safetensors", ".pth", ".pt", ".bin", ".onnx"}
STYLES: Mapping[State, str] = {"ok": "green", "missing": "yellow", "problem": "bold red"}


def collect(environment: Mapping[str, str] = os.environ) -> list[Check]:
    """Look at everything; takes seconds, most of them torch looking for devices."""
    return [
        *_machine(),
        *package_checks(),
        *media_checks(),
        *device_checks(),
        *_models(environment),
    ]


def has_problem(checks: Sequence[Check]) -> bool:
    """Something must be repaired before Reelmill can be trusted here."""
    return any(check.state == "problem" for check in checks)


def render(checks: Sequence[Check]) -> Group:
    """The findings as tables for a rich console, one per area."""
    areas = dict.fromkeys(check.area for check in checks)
    return Group(*(_table(area, [check for check in checks if check.area == area]) for area in areas))


def _table(area: str, checks: Sequence[Check]) -> Table:
    table = Table(title=area, title_justify="left", title_style="bold", box=None, pad_edge=False, show_header=False)
    table.add_column(width=20)
    table.add_column(width=7)
    table.add_column(ratio=3, overflow="fold")
    table.add_column(ratio=2, overflow="fold")
    for check in checks:
        state = Text(check.state, STYLES[check.state])
        table.add_row(Text(check.name), state, Text(check.value), Text(check.gives, "dim"))
    return table


def _machine() -> list[Check]:
    new_enough = sys.version_info[:2] >= OLDEST_PYTHON
    memory, disk = psutil.virtual_memory(), shutil.disk_usage(tempfile.gettempdir())
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return [
        Check("machine", "python", "ok" if new_enough else "problem", f"{platform.python_version()} {sys.executable}"),
        Check("machine", "platform", "ok", platform.platform()),
        Check("machine", "cores", "ok", f"{usable} usable of {os.cpu_count()}"),
        Check("machine", "memory", "ok", f"{memory.available / 1e9:.1f} GB free of {memory.total / 1e9:.1f} GB"),
        Check("machine", "temporary disk", "ok", f"{disk.free / 1e9:.1f} GB free in {tempfile.gettempdir()}"),
    ]


def _models(environment: Mapping[str, str]) -> list[Check]:
    return [
        _folder(environment, "REELMILL_MODELS", MODEL_SUFFIXES, "weights that configs name by file"),
        _captioner(environment),
        _folder(environment, "REELMILL_REAL_VIDEOS", None, "real clips in the demo and the tests"),
    ]


def _folder(environment: Mapping[str, str], variable: str, suffixes: set[str] | None, gives: str) -> Check:
    if not environment.get(variable):
        return Check("models and data", variable, "missing", "not set", gives)
    folder = Path(environment[variable])
    if not folder.is_dir():
        return Check("models and data", variable, "problem", f"{folder} is no folder", gives)
    files = sorted(
        file for file in folder.iterdir() if file.is_file() and (suffixes is None or file.suffix in suffixes)
    )
    folders = sorted(entry.name for entry in folder.iterdir() if (entry / "config.json").is_file())
    names = [*(f"{name}/" for name in folders), *(file.name for file in files)]
    shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    return Check(
        "models and data", variable, "ok" if names else "problem", f"{folder}: {shown or 'nothing usable'}", gives
    )


def _captioner(environment: Mapping[str, str]) -> Check:
    name, gives = "REELMILL_CAPTIONER", "captions of real clips, by a BLIP-2 folder"
    if not environment.get(name):
        return Check("models and data", name, "missing", "not set", gives)
    config = Path(environment[name]) / "config.json"
    try:
        kind = json.loads(config.read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        return Check(
            "models and data", name, "problem", f"{config} cannot be read: {error}", "name a folder by save_pretrained"
        )
    state: State = "ok" if kind == "blip-2" else "problem"
    return Check(
        "models and data", name, state, f"{config.parent}: {kind}", gives if state == "ok" else "blip-2 is expected"
    )
