"""The process that touches strangers' bytes: `python -m curate.media.process FD FD RULES`, started by `child.py`.

It answers one request at a time with the result of a function of `OPS` or with a stable error code. Functions are
named, not imported, so that the start costs little and a request pays only for what it uses.
"""

import importlib
import json
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from curate.media.opening import OpenRules, error_code, set_open_rules
from curate.media.sandbox import cpu_s, die_with_parent, leave_network, limit_cpu, limit_resources
from curate.media.wire import Channel, ChannelClosed
from shards.errors import ClipError

OPS = {
    "probe": "curate.media.probe:probe_op",
    "scan": "curate.media.scan_op:scan_op",
    "cut": "curate.clips.cut:cut_op",
    "verify": "curate.clips.cut:verify_op",
}


def main(read_fd: str, write_fd: str, settings: str) -> None:
    """Give up what is not needed, then serve until the worker closes its pipe."""
    values = json.loads(settings)
    die_with_parent(values["parent_pid"])
    limit_resources(values["memory_bytes"], values["file_bytes"])
    network = leave_network()
    rules = values["rules"]
    set_open_rules(OpenRules(tuple(rules["demuxers"]), rules["max_pixels"], rules["ffmpeg"]))
    channel = Channel(int(read_fd), int(write_fd))
    channel.send({"network": network, "start_cpu_s": _all_cpu_s()})
    serve(channel)


def serve(channel: Channel) -> None:
    """Answer requests until the other end is closed."""
    while True:
        try:
            request = channel.receive()
        except ChannelClosed:
            return
        limit_cpu(request["cpu_s"])
        before_s = _all_cpu_s()
        usage = {"start_cpu_s": 0.0}
        answer = _answer(request["op"], request["arguments"], usage)
        usage["cpu_s"] = _all_cpu_s() - before_s - usage["start_cpu_s"]
        channel.send(answer | {"usage": usage | {"max_rss_bytes": _max_rss_bytes()}})


def find_op(name: str) -> Callable[..., dict[str, Any]]:
    """The function of an op, imported when first asked for."""
    module, _, function = OPS[name].partition(":")
    return getattr(importlib.import_module(module), function)


def _answer(op: str, arguments: dict[str, Any], usage: dict[str, float]) -> dict[str, Any]:
    before_s = _all_cpu_s()
    try:
        function = find_op(op)
        usage["start_cpu_s"] = _all_cpu_s() - before_s
        return {"result": function(**arguments)}
    except ClipError as error:
        return _error(error.code, error)
    except Exception as error:  # whatever a library throws at odd bytes is this file's fault, not the run's
        return _error(error_code(error) or "unexpected_error", error)


def _error(code: str, error: BaseException) -> dict[str, Any]:
    place = ""
    if code == "unexpected_error" and (trace := error.__traceback__):
        while trace.tb_next:
            trace = trace.tb_next
        place = f" ({trace.tb_frame.f_code.co_filename}:{trace.tb_lineno})"
    name = "" if isinstance(error, ClipError) else f"{type(error).__name__}: "
    return {"error": {"code": code, "message": f"{name}{error}{place}"}}


def _all_cpu_s() -> float:
    return cpu_s(resource.RUSAGE_SELF) + cpu_s(resource.RUSAGE_CHILDREN)


def _max_rss_bytes() -> int:
    """Peak of this program alone: ru_maxrss also remembers the process that it was forked from."""
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main(*sys.argv[1:])
