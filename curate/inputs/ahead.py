"""Remote inputs fetched before a worker asks for them."""

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager

import pyarrow as pa

from curate.config import CurateConfig
from curate.inputs.sources import Sources
from curate.inputs.staging import Stopped
from curate.inputs.uris import is_remote
from curate.pack import ShardTask, finished_record
from curate.rundir import Part, RunDir
from shards.errors import ClipError, StoreError
from shards.schema import strings

_THREADS = 4
_WAIT_S = 0.1
_PATIENCE_S = 5.0  # for a request that is under way when nobody wants it any more


class Ahead(AbstractContextManager["Ahead"]):
    """Threads that fetch remote inputs in the order in which workers will ask for them, as far as there is room.

    What cannot be fetched is left to the worker, which says so in the input's row.
    """

    def __init__(self, run_dir: RunDir, config: CurateConfig, uris: Iterable[str]) -> None:
        self._stop = threading.Event()
        self._sources, self._uris = Sources(run_dir, config, self._stop), iter(uris)
        self._turn = threading.Lock()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(_THREADS)]

    def __enter__(self) -> "Ahead":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop; what is half fetched stays for whoever asks."""
        self._stop.set()
        for thread in self._threads:
            thread.join(_PATIENCE_S)

    def _work(self) -> None:
        while (uri := self._next()) is not None:
            try:
                while not self._sources.staging.fetch_ahead(uri):
                    if self._stop.wait(_WAIT_S):
                        return
            except Stopped:
                return
            except (ClipError, StoreError, OSError):
                continue

    def _next(self) -> str | None:
        with self._turn:
            return None if self._stop.is_set() else next(self._uris, None)


def uris_to_scan(run_dir: RunDir, parts: Sequence[Part]) -> Iterator[str]:
    """Remote inputs of the parts that are not finished, in order."""
    for part in parts:
        if not run_dir.part("videos", part.name).is_file():
            yield from filter(is_remote, strings(part.videos, "uri"))


def uris_to_pack(run_dir: RunDir, plan_id: str, tasks: Sequence[ShardTask], videos: pa.Table) -> Iterator[str]:
    """Remote sources of the shards that are not packed, in the order in which a task asks for them."""
    if not any(map(is_remote, strings(videos, "uri"))):
        return
    for number in range(len(tasks)):
        if finished_record(run_dir, plan_id, number) is None:
            sources = tasks[number].videos
            yield from filter(is_remote, (sources[video_id]["uri"] for video_id in sorted(sources)))
