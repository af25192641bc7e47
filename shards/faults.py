"""Fault points: where a test ends or pauses this process, to prove that a rerun puts everything right.

`REELMILL_FAULT=<point>:<n>` kills the process (-9: no handler, no clean-up) at the n-th passage of the point;
`<point>:<n>:stop` pauses it instead, as a machine that hangs would. Unset, a point is one comparison.
"""

import os
import signal

from shards.errors import ConfigError

VARIABLE = "REELMILL_FAULT"

# In the order in which each of them reaches its own.
PACKING = ("pack-clip", "pack-committed", "pack-recorded")  # of curation
WRITING = ("shard-begun", "shard-member", "shard-written", "shard-synced", "shard-read")
OBJECT = ("object-begun", "object-beside", "object-named", "object-durable")
COMMITTING = ("commit-tar", "commit-index", "commit-record")
PUBLISHING = ("publish-drafted", "publish-plan", "publish-manifest", "publish-card", "publish-latest")
HINT = ("hint-beside", "hint-named")
COMPACTING = ("compact-read", "compact-shard")
COLLECTING = ("gc-found", "gc-removed")
EXPORTING = ("export-shard", "export-plan", "export-manifest", "export-card", "export-latest")
PUSHING = ("push-created", "push-exported", "push-data", "push-manifest")
IMPORTING = ("import-probed", "import-shard")
POINTS = (
    *(*PACKING, *WRITING, *OBJECT, *COMMITTING, *PUBLISHING, *HINT),
    *(*COMPACTING, *COLLECTING, *EXPORTING, *PUSHING, *IMPORTING),
)

_armed: list[tuple[str, int]] = []  # the point, and how many more times it is passed
_signal = signal.SIGKILL


def arm(fault: str | None) -> None:
    """Choose the fault of this process; None for none.

    Raises:
        ConfigError: no such point, or no number.
    """
    global _signal
    _armed.clear()
    if not fault:
        return
    point, _, rest = fault.partition(":")
    number, _, action = rest.partition(":")
    if point not in POINTS or not number.isdecimal() or int(number) < 1 or action not in ("", "stop"):
        raise ConfigError(f"{VARIABLE} is {fault!r}; <point>:<n> or <point>:<n>:stop of {', '.join(POINTS)} is allowed")
    _armed.append((point, int(number)))
    _signal = signal.SIGSTOP if action else signal.SIGKILL


def reached(point: str) -> None:
    """Say that a point is reached; ends or pauses the process there if that is asked for."""
    if _armed and _armed[0][0] == point:
        count = _armed[0][1] - 1
        if count:
            _armed[0] = (point, count)
        else:
            _armed.clear()
            os.kill(os.getpid(), _signal)


arm(os.environ.get(VARIABLE))
