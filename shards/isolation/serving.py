"""The child's side of `shards.isolation.child`: give up what is not needed, then answer one request at a time.

A request is {op, arguments, cpu_s}, an answer {result} or {error: {code, message}}, with the call's usage. Functions
are named, not imported, so that the start costs little and a request pays only for what it uses.
"""

import importlib
import json
import resource
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from shards.errors import ClipError
from shards.isolation.sandbox import cpu_s, die_with_parent, leave_network, limit_cpu, limit_resources
from shards.isolation.wire import Channel, ChannelClosed

CodeOf = Callable[[Exception], str | None]


def serve_as_child(
    read_fd: str,
    write_fd: str,
    settings: str,
    ops: Mapping[str, str],
    code_of: CodeOf,
    prepare: Callable[[Mapping[str, Any]], None] = lambda _: None,
) -> None:
    """The main of a child: serve until the worker closes its pipe.

    Args:
        read_fd: of the requests.
        write_fd: of the answers.
        settings: JSON of `Child.settings`.
        ops: name -> `module:function`, whose arguments and result are JSON-like.
        code_of: stable code of an exception that is no ClipError; None for one that should not happen.
        prepare: told the settings before the first request.
    """
    values = json.loads(settings)
    die_with_parent(values["parent_pid"])
    limit_resources(values["memory_bytes"], values["file_bytes"])
    network = leave_network()
    prepare(values)
    channel = Channel(int(read_fd), int(write_fd))
    channel.send({"network": network, "start_cpu_s": _all_cpu_s()})
    while True:
        try:
            request = channel.receive()
        except ChannelClosed:
            return
        channel.send(answer(request, ops, code_of))


def answer(request: Mapping[str, Any], ops: Mapping[str, str], code_of: CodeOf) -> dict[str, Any]:
    """Result or error of one request, and what it cost."""
    limit_cpu(request["cpu_s"])
    before_s, start_cpu_s = _all_cpu_s(), 0.0
    try:
        function = find_op(ops[request["op"]])
        start_cpu_s = _all_cpu_s() - before_s
        said = {"result": function(**request["arguments"])}
    except ClipError as error:
        said = _error(error.code, error)
    except Exception as error:  # whatever a library throws at odd bytes is this file's fault, not the run's
        said = _error(code_of(error) or "unexpected_error", error)
    usage = {"start_cpu_s": start_cpu_s, "cpu_s": _all_cpu_s() - before_s - start_cpu_s}
    return said | {"usage": usage | {"max_rss_bytes": _max_rss_bytes()}}


def find_op(name: str) -> Callable[..., dict[str, Any]]:
    """A function by `module:function`, imported when first asked for."""
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)


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
