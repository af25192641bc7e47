"""Checkpoints that a kill at any instant cannot spoil.

checkpoints/step-00001500/
    shard-<rank>-model-<group>….safetensors   tensors, see tensor_files.py          <name>.json   documents
    COMMITTED.json       record + sha256 of every other file; written last: without it the folder does not count
checkpoints/LATEST       name of the newest, for people
"""

import json
import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from shards.config import Config
from shards.errors import ConfigError, ContractError
from shards.ids import file_sha256

log = logging.getLogger(__name__)

COMMITTED = "COMMITTED.json"
_PREFIX = "step-"


class CheckpointConfig(Config):
    """When checkpoints are written and how many stay."""

    every_steps: int = Field(
        default=500, ge=1, description="Steps between checkpoints; one is always written at the end."
    )
    keep: int = Field(default=2, ge=1, description="Newest checkpoints kept.")
    beside: bool = Field(
        default=True, description="Write while training goes on; false waits for the files before the next step."
    )


def fresh(root: Path, step: int) -> Path:
    """An empty folder for the checkpoint of a step; what a kill or damage left there is removed."""
    folder = of_step(root, step)
    if folder.exists():
        _remove(folder)
    folder.mkdir(parents=True)
    return folder


def of_step(root: Path, step: int) -> Path:
    """The folder of a step's checkpoint."""
    return root / f"{_PREFIX}{step:08d}"


def step_of(folder: Path) -> int:
    """Inverse of `of_step`."""
    return int(folder.name.removeprefix(_PREFIX))


def is_committed(folder: Path) -> bool:
    """Whether the folder counts."""
    return (folder / COMMITTED).is_file()


def commit(folder: Path, documents: Mapping[str, Any], record: Mapping[str, Any], keep: int) -> None:
    """Write the documents, make the folder count, then remove checkpoints that are too old.

    Args:
        folder: holds the tensors of all ranks.
        documents: per file name, JSON-like data.
        record: small JSON-like data that goes into the commit record.
        keep: newest checkpoints to keep.
    """
    for name, document in documents.items():
        (folder / f"{name}.json").write_text(json.dumps(document, indent=1, ensure_ascii=False), encoding="utf-8")
    _commit(folder, record)
    _replace(folder.parent / "LATEST", folder.name)
    for old in _committed(folder.parent)[:-keep]:
        _remove(old)


def newest(root: Path) -> Path | None:
    """The newest checkpoint whose hashes are right; damaged ones are named and passed over; None if there is none.

    Raises:
        ContractError: there are checkpoints, all of them damaged.
    """
    committed = _committed(root)
    for folder in reversed(committed):
        try:
            verify(folder)
        except ContractError as error:
            log.warning("checkpoint passed over: %s", error)
        else:
            return folder
    if committed:
        raise ContractError(
            f"{root} holds {len(committed)} checkpoints, none of them whole; one whole one is needed to go on; restore "
            f"one, or remove the folder to train anew"
        )
    return None


def newest_before(root: Path, step: int) -> Path | None:
    """The newest checkpoint with fewer than `step` finished steps, hashes verified; None if there is none."""
    earlier = [folder for folder in _committed(root) if step_of(folder) < step]
    for folder in earlier[-1:]:
        verify(folder)
    return earlier[-1] if earlier else None


def find(path: Path) -> Path:
    """The checkpoint meant by a path: itself, or the newest of a run folder.

    Raises:
        ConfigError: there is none.
    """
    if is_committed(path):
        verify(path)
        return path
    found = newest(path / "checkpoints") or newest(path)
    if found is None:
        raise ConfigError(f"checkpoint is {path}; a run folder with a committed checkpoint is allowed; train first")
    return found


def verify(folder: Path) -> None:
    """Compare every file with the sha256 of the commit record.

    Raises:
        ContractError: a file is missing or changed.
    """
    for name, sha256 in _record(folder)["files"].items():
        path = folder / name
        found = file_sha256(path) if path.is_file() else "missing"
        if found != sha256:
            raise ContractError(f"{path} has sha256 {found}; {sha256} was committed; restore it, or use the one before")


def read_document(folder: Path, name: str) -> Any:
    """JSON-like data of one file."""
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))


def read_record(folder: Path) -> dict[str, Any]:
    """The record given to `commit`."""
    return _record(folder)["record"]


def _remove(folder: Path) -> None:
    (folder / COMMITTED).unlink(missing_ok=True)  # first: a kill in between leaves nothing half deleted that counts
    shutil.rmtree(folder)


def _commit(folder: Path, record: Mapping[str, Any]) -> None:
    files = sorted(path for path in folder.iterdir())
    for path in files:
        _sync(path)
    commit = {"record": dict(record), "files": {path.name: file_sha256(path) for path in files}}
    _replace(folder / COMMITTED, json.dumps(commit, indent=1))
    _sync(folder.parent)


def _replace(path: Path, text: str) -> None:
    scratch = path.with_name(f".{path.name}.tmp")
    scratch.write_text(text, encoding="utf-8")
    _sync(scratch)
    os.replace(scratch, path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _committed(root: Path) -> list[Path]:
    return sorted(path.parent for path in root.glob(f"{_PREFIX}*/{COMMITTED}"))


def _record(folder: Path) -> dict[str, Any]:
    return json.loads((folder / COMMITTED).read_text(encoding="utf-8"))
