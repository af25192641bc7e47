"""Sources as local files, wherever they lie: what a worker opens."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from curate.config import CurateConfig
from curate.inputs.remote import changed_source
from curate.inputs.source import Source
from curate.inputs.staging import Staging
from curate.inputs.uris import is_remote, local_path
from curate.rundir import RunDir


class Sources:
    """Opens inputs for one process: local ones where they are, remote ones in the run's staging folder."""

    def __init__(self, run_dir: RunDir, config: CurateConfig, stop: threading.Event | None = None) -> None:
        limit_bytes, private_hosts = config.run.staging_bytes, config.ingest.private_hosts
        self.staging = Staging(run_dir.staged, limit_bytes, private_hosts, stop=stop)

    @contextmanager
    def opened(self, row: Mapping[str, Any]) -> Iterator[Source]:
        """The source of a row of VIDEO; the file stays until the context ends.

        Raises:
            MediaError: it cannot be had; `source_changed`: it is not what was probed.
        """
        if not is_remote(row["uri"]):
            path = local_path(row["uri"])
            if row["size_bytes"] is not None and path.is_file() and path.stat().st_size != row["size_bytes"]:
                raise changed_source(row["uri"])
            yield Source(path)
            return
        with self.staging.held(row["uri"]) as staged:
            if row["sha256"] not in (None, staged.sha256):
                raise changed_source(row["uri"])
            yield Source(staged.path, staged.sha256)
