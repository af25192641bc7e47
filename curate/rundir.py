"""The run directory: where each step's rows land, written beside and renamed, so that whatever is there is complete.

config.yaml plan.json metrics.json report.html
parts/<step>/<part>.parquet     steps: videos, clips, frames, models
parts/costs/<step>-<part>.json  steps: scan, models; measured costs, and the keys by which inputs are found again
parts/packed/<plan>-<shard>.json failed.json   packed shards, and clips that could not be cut
catalog/videos.parquet clips.parquet
dataset/                        what is published; dataset-NAME/ for what `cut.also` names
scratch/                        empty after every run; staged/ holds remote inputs meanwhile
"""

import fcntl
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from shards.errors import ConfigError


@dataclass(frozen=True)
class Part:
    """A few inputs: the unit of work and of resume.

    Attributes:
        name: file name stem; a hash of the keys of the inputs it was made of.
        videos: rows of VIDEO as ingest made them (uri, sidecar text, provenance).
        keys: key of each row: another input or option, another key.
    """

    name: str
    videos: pa.Table
    keys: tuple[str, ...]


@dataclass(frozen=True)
class RunDir:
    """Paths below one run's output directory."""

    root: Path

    def part(self, step: str, name: str) -> Path:
        """Parquet file of one step and part."""
        return self.root / "parts" / step / f"{name}.parquet"

    def costs(self, step: str, name: str) -> Path:
        """Measured costs of one step and part."""
        return self.root / "parts" / "costs" / f"{step}-{name}.json"

    def catalog(self, name: str) -> Path:
        """All rows of `videos` or `clips`, decisions included."""
        return self.root / "catalog" / f"{name}.parquet"

    @property
    def dataset(self) -> Path:
        """The published dataset."""
        return self.dataset_of(None)

    def dataset_of(self, name: str | None) -> Path:
        """The published dataset, or one of those that `cut.also` names."""
        return self.root / (f"dataset-{name}" if name else "dataset")

    @property
    def staged(self) -> Path:
        """Remote inputs while they are needed."""
        return self.root / "scratch" / "staged"

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder of one's own that is gone afterwards."""
        folder = self.root / "scratch" / uuid.uuid4().hex
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for one run; scratch is empty after it, whatever a run that was killed had left there.

        Only remote inputs outlast a kill: the next run goes on where their bytes end.

        Raises:
            ConfigError: the folder cannot be made, or another run holds it.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            lock = (self.root / ".lock").open("w")
        except OSError as error:
            raise ConfigError(
                f"--output is {self.root}; {error.strerror}; name a folder that can be written"
            ) from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConfigError(
                    f"--output {self.root} is in use by another run; wait for it or name another"
                ) from None
            self._clear_scratch(but=self.staged)
            try:
                yield
            finally:
                self._clear_scratch()

    def _clear_scratch(self, but: Path | None = None) -> None:
        for left in (self.root / "scratch").glob("*"):
            if left != but:
                shutil.rmtree(left, ignore_errors=True)
        with suppress(OSError):  # not empty, or absent
            (self.root / "scratch").rmdir()
        for left in self.root.glob("parts/*/.*"):
            left.unlink(missing_ok=True)

    def require_run(self) -> None:
        """Refuse a folder that holds no finished run.

        Raises:
            ConfigError: there is no catalog.
        """
        if not self.catalog("clips").is_file():
            raise ConfigError(
                f"{self.root} holds no catalog; the --output of a finished run is allowed; name that folder"
            )


def write_table(path: Path, table: pa.Table, row_group_size: int | None = None) -> None:
    """Write Parquet beside and rename."""
    with _beside(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", row_group_size=row_group_size)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON beside and rename."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write text beside and rename."""
    with _beside(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file."""
    return json.loads(path.read_text(encoding="utf-8"))


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
