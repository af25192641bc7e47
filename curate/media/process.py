"""The process that touches strangers' bytes: `python -m curate.media.process FD FD SETTINGS`, started by `child.py`."""

import sys
from collections.abc import Mapping
from typing import Any

from curate.media.opening import OpenRules, error_code, set_open_rules
from shards.isolation.serving import serve_as_child

OPS = {
    "probe": "curate.media.probe:probe_op",
    "scan": "curate.media.scan_op:scan_op",
    "fill": "curate.media.fill_op:fill_op",
    "cut": "curate.clips.cut:cut_op",
    "verify": "curate.clips.cut:verify_op",
    "header": "curate.media.header:header_op",
}


def main(read_fd: str, write_fd: str, settings: str) -> None:
    """Serve until the worker closes its pipe."""
    serve_as_child(read_fd, write_fd, settings, OPS, error_code, _set_rules)


def _set_rules(settings: Mapping[str, Any]) -> None:
    rules = settings["rules"]
    set_open_rules(OpenRules(tuple(rules["demuxers"]), rules["max_pixels"], rules["ffmpeg"]))


if __name__ == "__main__":
    main(*sys.argv[1:])
