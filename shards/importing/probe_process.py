"""The process that probes strangers' clips: `python -m shards.importing.probe_process FD FD SETTINGS`, see `Prober`."""

import sys

from shards.isolation.serving import serve_as_child

OPS = {"probe": "shards.importing.probe:probe_op"}


def _code_of(error: Exception) -> str | None:
    return "out_of_memory" if isinstance(error, MemoryError) else None


def main(read_fd: str, write_fd: str, settings: str) -> None:
    """Serve until the worker closes its pipe."""
    serve_as_child(read_fd, write_fd, settings, OPS, _code_of)


if __name__ == "__main__":
    main(*sys.argv[1:])
