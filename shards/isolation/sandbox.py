"""What a child gives up before it touches a stranger's byte: network, memory, files, life after its parent.

Standard library only, and called while the process still has one thread: a user namespace can be made only then.
"""

import contextlib
import ctypes
import os
import resource
import signal

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_MAX_OPEN_FILES = 256


def die_with_parent(parent_pid: int | None = None) -> None:
    """Ask the kernel to kill this process when its parent ends, however that happens.

    Args:
        parent_pid: the parent expected; another one means that it is gone already, and this process exits.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent_pid is not None and os.getppid() != parent_pid:
        os._exit(1)


def limit_resources(memory_bytes: int, file_bytes: int) -> None:
    """Bound address space, size of any written file and open files; write no core dumps; gain no privileges."""
    _limit(resource.RLIMIT_AS, memory_bytes)
    _limit(resource.RLIMIT_FSIZE, file_bytes)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NOFILE, _MAX_OPEN_FILES)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def _limit(kind: int, value: int) -> None:
    """Bound for good; a lower bound that stands already stays, since only root may raise one."""
    _, hard = resource.getrlimit(kind)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))


def limit_cpu(more_s: float) -> None:
    """Let this process use so many CPU seconds more; then the kernel kills it with SIGXCPU."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = int(cpu_s(resource.RUSAGE_SELF) + more_s) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def leave_network() -> str:
    """Move this process into an empty network namespace where the kernel allows it.

    Returns:
        "none": no network is reachable; "host": the kernel refused, the network is as before.
    """
    libc = _libc()
    # Root needs no user namespace, and would lose access to other users' files in one.
    flags = (_CLONE_NEWNET, _CLONE_NEWUSER | _CLONE_NEWNET)
    with contextlib.suppress(AttributeError):  # a libc without unshare
        return "none" if any(libc.unshare(flag) == 0 for flag in flags) else "host"
    return "host"


def cpu_s(who: int) -> float:
    """User and system CPU seconds used by this process (RUSAGE_SELF) or its ended children (RUSAGE_CHILDREN)."""
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def _prctl(option: int, value: int) -> None:
    with contextlib.suppress(AttributeError):  # only Linux has it
        _libc().prctl(option, value, 0, 0, 0)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
