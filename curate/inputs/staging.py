"""Remote inputs as local files: a folder that all processes of a run share, below a limit of bytes.

<key>.lock          held exclusively by who fetches or removes, shared by who reads; the kernel lets go for the dead
<key>-<size>.part   bytes so far; <key>.json says of which state of the source, so that any process can go on
<key>-<size>.mp4    complete; its time of change is 0 until somebody has used it

Room is made by removing what nobody holds: what was used before what was fetched ahead. A size is reserved before its
first byte is written, so the files never weigh more than the limit.
"""

import fcntl
import hashlib
import json
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import psutil

from curate.inputs.remote import RemoteInput, RemoteState, changed_source, open_input
from curate.inputs.uris import name_of
from shards.errors import MediaError, StoreError
from shards.ids import digest
from shards.storage.remote import RemoteConfig

MAX_FILES = 1024  # in the folder; more of them would cost more to look through than to fetch again
PROGRESS_BYTES = 1 << 20  # who has brought so much may ask again with all patience
UNREACHABLE = "unreachable"
_WAIT_S = 0.05
_KEY_DIGITS = 16
_ROOM = ".room"  # lock of who counts and reserves


@dataclass(frozen=True)
class Staged:
    """A remote input on the local disk.

    Attributes:
        path: of the file; it has the suffix of the source.
        sha256: of its bytes.
        state: of the source when they were fetched.
    """

    path: Path
    sha256: str
    state: RemoteState


class Stopped(Exception):
    """Whoever wanted the file does not want it any more."""


class Staging:
    """The shared folder, as one process sees it."""

    def __init__(
        self,
        folder: Path,
        limit_bytes: int,
        private_hosts: bool = False,
        patience: RemoteConfig | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        self.folder, self.limit_bytes, self.private_hosts = folder, limit_bytes, private_hosts
        self.patience = patience or RemoteConfig.from_environment()
        self._stop = stop or threading.Event()

    @contextmanager
    def held(self, uri: str) -> Iterator[Staged]:
        """The input as a file that stays until the context ends; waits for room, and for who is fetching it.

        Raises:
            MediaError: `larger_than_staging`, `unreachable`, `source_changed`, … (see `curate.inputs.remote`).
        """
        with _Entry(self.folder, uri).locked() as entry:
            while (staged := entry.shared()) is None:
                entry.exclusive()
                if entry.staged() is None:
                    self._fetch(entry, evict_unused=True)
            try:
                yield staged
            finally:
                os.utime(staged.path)

    def fetch_ahead(self, uri: str) -> bool:
        """Fetch an input that will be asked for; False if there is no room yet that costs nothing."""
        with _Entry(self.folder, uri).locked() as entry:
            entry.exclusive()
            return entry.staged() is not None or self._fetch(entry, evict_unused=False)

    def _fetch(self, entry: "_Entry", evict_unused: bool) -> bool:
        source = open_input(entry.uri, self.patience, self.private_hosts)
        state = ask(source, self.patience)
        if state.size_bytes > self.limit_bytes:
            told = f"{entry.uri} has {state.size_bytes} bytes; run.staging_bytes is {self.limit_bytes}; raise it"
            raise MediaError(told, "larger_than_staging")
        if entry.state() != state:
            entry.clear()
        while not self._make_room(entry, state, evict_unused):
            if not evict_unused:
                return False
            if self._stop.wait(_WAIT_S):
                raise Stopped
        try:
            sha256 = self._download(source, state, entry.part(state.size_bytes))
        except MediaError as error:
            if error.code != UNREACHABLE:  # then what came so far is of use to the next attempt
                entry.clear()
            raise
        entry.finish(state, sha256)
        return True

    def _make_room(self, entry: "_Entry", state: RemoteState, evict_unused: bool) -> bool:
        """Reserve the size of an entry; False if others hold too much."""
        with _flocked(self.folder / _ROOM):
            others = [file for file in _files(self.folder) if file.key != entry.key]
            number, used_bytes = len(others), sum(file.size_bytes for file in others)
            for file in sorted(others, key=lambda file: file.rank):
                if used_bytes + state.size_bytes <= self.limit_bytes and number < MAX_FILES:
                    break
                if (file.was_used or evict_unused) and _evict(self.folder, file.key):
                    number, used_bytes = number - 1, used_bytes - file.size_bytes
            if used_bytes + state.size_bytes > self.limit_bytes or (number >= MAX_FILES and not evict_unused):
                return False
            entry.begin(state)
            return True

    def _download(self, source: RemoteInput, state: RemoteState, part: Path) -> str:
        """Bring the rest of the part; returns the sha256 of all."""
        sha256 = hashlib.sha256()
        with part.open("r+b") as file:
            offset = _digested(file, sha256) if state.can_resume else 0
            attempts, since, failure = self.patience.attempts(), offset, ""
            while offset < state.size_bytes:
                if next(attempts, None) is None:
                    raise _unreachable(source.uri, failure or "its bytes stay away")
                if not state.can_resume:
                    offset, sha256 = 0, hashlib.sha256()
                try:
                    for data in _stopping(source.read(offset, state), self._stop):
                        file.seek(offset)
                        file.write(data)
                        sha256.update(data)
                        offset += len(data)
                except StoreError as error:
                    failure = str(error)
                if offset > state.size_bytes:
                    raise changed_source(source.uri)
                if offset - since >= PROGRESS_BYTES and state.can_resume:
                    attempts, since = self.patience.attempts(), offset
            file.truncate(state.size_bytes)
        if ask(source, self.patience) != state:
            raise changed_source(source.uri)
        return sha256.hexdigest()


def ask(source: RemoteInput, patience: RemoteConfig) -> RemoteState:
    """What a source is now.

    Raises:
        MediaError: it is none; `unreachable` after all patience.
    """
    failure = ""
    for _ in patience.attempts():
        try:
            return source.state()
        except StoreError as error:
            failure = str(error)
    raise _unreachable(source.uri, failure)


def _unreachable(uri: str, failure: str) -> MediaError:
    return MediaError(f"{uri} is unreachable; {failure}; `curate retry` tries again", UNREACHABLE)


class _Entry:
    """The files of one uri; every method but `shared` wants the exclusive lock."""

    def __init__(self, folder: Path, uri: str) -> None:
        self.folder, self.uri = folder, uri
        self.key = digest(uri)[:_KEY_DIGITS]
        suffix = name_of(uri).suffix.lower()
        self.suffix = suffix if re.fullmatch(r"\.[a-z0-9]{1,8}", suffix) and suffix != ".part" else ".bin"
        self._lock: IO[str] | None = None

    @contextmanager
    def locked(self) -> Iterator["_Entry"]:
        """Give every lock back at the end."""
        try:
            yield self
        finally:
            self._close()

    def exclusive(self) -> None:
        """Wait for everybody else to let go."""
        self._take(fcntl.LOCK_EX)

    def shared(self) -> Staged | None:
        """Keep the complete file from being removed; None if there is none."""
        self._take(fcntl.LOCK_SH)
        return self.staged()

    def staged(self) -> Staged | None:
        """The complete file."""
        record = self._record()
        if not record.get("sha256"):
            return None
        state = RemoteState(**record["state"])
        path = self._file(state.size_bytes, self.suffix)
        return Staged(path, record["sha256"], state) if path.is_file() else None

    def state(self) -> RemoteState | None:
        """Of the source when it was begun."""
        record = self._record()
        return RemoteState(**record["state"]) if record else None

    def part(self, size_bytes: int) -> Path:
        """What is there so far."""
        return self._file(size_bytes, ".part")

    def begin(self, state: RemoteState) -> None:
        """Reserve room: from now on the size counts."""
        self._write(state, None)
        self.part(state.size_bytes).touch()

    def finish(self, state: RemoteState, sha256: str) -> None:
        """All bytes are there."""
        part = self.part(state.size_bytes)
        os.utime(part, (0, 0))
        with _flocked(self.folder / _ROOM):  # who counts sees it under one name or the other
            part.rename(self._file(state.size_bytes, self.suffix))
        self._write(state, sha256)

    def clear(self) -> None:
        """Remove everything but the lock."""
        _remove(self.folder, self.key)

    def _file(self, size_bytes: int, suffix: str) -> Path:
        return self.folder / f"{self.key}-{size_bytes}{suffix}"

    def _record(self) -> dict[str, Any]:
        path = self.folder / f"{self.key}.json"
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):  # the second: cut short by a kill
            return {}
        return record if record["boot_s"] == _boot_s() else {}  # a machine that went down may have lost bytes

    def _write(self, state: RemoteState, sha256: str | None) -> None:
        record = {"uri": self.uri, "state": asdict(state), "sha256": sha256, "boot_s": _boot_s()}
        text = json.dumps(record)
        (self.folder / f"{self.key}.json").write_text(text, encoding="utf-8")

    def _take(self, kind: int) -> None:
        """Lock, and see that the lock's name was not removed meanwhile."""
        path = self.folder / f"{self.key}.lock"
        while True:
            if self._lock is None:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._lock = path.open("a")
            fcntl.flock(self._lock, kind)
            if _is_at(self._lock, path):
                return
            self._close()

    def _close(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None


@dataclass(frozen=True)
class _File:
    """A file of the folder, by its name."""

    key: str
    size_bytes: int
    changed_ns: int
    is_part: bool

    @property
    def was_used(self) -> bool:
        return self.changed_ns > 0 or self.is_part

    @property
    def rank(self) -> tuple[bool, int]:
        """In the order of leaving: parts and used files by time, then those fetched ahead."""
        return not self.was_used, self.changed_ns


def _files(folder: Path) -> list[_File]:
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if match := re.fullmatch(rf"([0-9a-f]{{{_KEY_DIGITS}}})-(\d+)\.(\w+)", entry.name):
                try:
                    changed_ns = entry.stat().st_mtime_ns
                except FileNotFoundError:  # given up meanwhile
                    continue
                found.append(_File(match[1], int(match[2]), changed_ns, match[3] == "part"))
    return found


def _evict(folder: Path, key: str) -> bool:
    """Remove an entry that nobody holds."""
    path = folder / f"{key}.lock"
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        if not _is_at(lock, path):
            return False
        _remove(folder, key)
        path.unlink()
        return True


def _remove(folder: Path, key: str) -> None:
    for path in [*folder.glob(f"{key}-*"), folder / f"{key}.json"]:
        path.unlink(missing_ok=True)


def _is_at(file: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def _flocked(path: Path) -> Iterator[None]:
    with path.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _digested(file: IO[bytes], sha256: "hashlib._Hash") -> int:
    """Feed what a part holds to its hash; returns how much it is."""
    offset = 0
    while data := file.read(1 << 20):
        sha256.update(data)
        offset += len(data)
    return offset


def _stopping(chunks: Iterator[bytes], stop: threading.Event) -> Iterator[bytes]:
    for chunk in chunks:
        if stop.is_set():
            raise Stopped
        yield chunk


def _boot_s() -> int:
    return int(psutil.boot_time())
