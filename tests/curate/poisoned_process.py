"""The media child with a taste: files of some names end it as poison does. A test starts it in the child's place."""

import importlib
import os
import sys
import time
from pathlib import Path
from typing import Any

from curate.media import process

REAL_OPS = {
    "probe": "curate.media.probe:probe_op",
    "scan": "curate.media.scan_op:scan_op",
    "cut": "curate.clips.cut:cut_op",
}


def taste(op: str, arguments: dict[str, Any]) -> None:
    """What the name of a file asks for, `<fault>_<op>_…`: crash, hang, eat, or once (a crash that happens once)."""
    path = Path(arguments.get("path") or arguments["source"])
    fault, _, rest = path.stem.partition("_")
    if not rest.startswith(op):
        return
    print(f"{fault} over {path.name}", file=sys.stderr, flush=True)
    with path.with_suffix(".tries").open("ab") as tries:
        tries.write(b".")
    if fault == "crash" or (fault == "once" and path.with_suffix(".tries").stat().st_size == 1):
        os.abort()
    if fault == "hang":
        time.sleep(1000)
    if fault == "eat":
        bytearray(64 << 30)


def _tasted(op: str) -> Any:
    def run(**arguments: Any) -> dict[str, Any]:
        taste(op, arguments)
        module, _, function = REAL_OPS[op].partition(":")
        return getattr(importlib.import_module(module), function)(**arguments)

    return run


probe, scan, cut = (_tasted(op) for op in REAL_OPS)

if __name__ == "__main__":
    process.OPS.update({op: f"tests.curate.poisoned_process:{op}" for op in REAL_OPS})
    process.main(*sys.argv[1:])
