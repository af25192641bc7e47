"""The process that decodes strangers' clips: `python -m` this module `FD FD SETTINGS`, see `decode_child`."""

import sys

from shards.errors import ContractError
from shards.isolation.serving import serve_as_child

UNDECODABLE = "undecodable"  # code of a clip that is at fault while the child is well
OPS = {"decode": "shards.reading.decode_op:decode_op"}


def main(read_fd: str, write_fd: str, settings: str) -> None:
    """Serve until the worker closes its pipe."""
    serve_as_child(read_fd, write_fd, settings, OPS, _code_of)


def _code_of(error: Exception) -> str | None:
    if isinstance(error, MemoryError):
        return "out_of_memory"
    return UNDECODABLE if isinstance(error, ContractError) else None


if __name__ == "__main__":
    main(*sys.argv[1:])
