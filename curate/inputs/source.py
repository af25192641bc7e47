"""One input as a file on a local disk, and what it must hash to."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Source:
    """One input on a local disk.

    Attributes:
        path: of its bytes.
        sha256: of them, if it is known already.
    """

    path: Path
    sha256: str | None = None


def expected_sha256(row: Mapping[str, Any], column: str) -> str | None:
    """What a list says that the file's sha256 must be, in lower case."""
    told = json.loads(row["provenance"]).get(column) if row["provenance"] else None
    return told.strip().lower() or None if isinstance(told, str) else None
