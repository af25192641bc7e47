"""Checkpoints that a kill at any instant cannot spoil.

checkpoints/step-00001500/
    <name>.safetensors   tensors          <name>.json   documents
    COMMITTED.json       record + sha256 of every other file; written last: without it the folder does not count
checkpoints/LATEST       name of the newest, for people
"""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field
from safetensors.torch import load_file, save_file
from torch import Tensor

from shards.config import Config
from shards.errors import ConfigError, ContractError
from shards.ids import file_sha256

COMMITTED = "COMMITTED.json"
_PREFIX = "step-"


class CheckpointConfig(Config):
    """When checkpoints are written and how many stay."""

    every_steps: int = Field(
        default=500, ge=1, description="Steps between checkpoints; one is always written at the end."
    )
    keep: int = Field(default=2, ge=1, description="Newest checkpoints kept.")


def save(
    root: Path,
    step: int,
    tensors: Mapping[str, Mapping[str, Tensor]],
    documents: Mapping[str, Any],
    record: Mapping[str, Any],
    keep: int,
) -> Path:
    """Write a checkpoint into a fresh folder, commit it, then remove those that are too old.

    Args:
        root: folder of checkpoints.
        step: finished optimiser steps.
        tensors: per file name, tensors by name.
        documents: per file name, JSON-like data.
        record: small JSON-like data that goes into the commit record.
        keep: newest checkpoints to keep.
    """
    folder = root / f"{_PREFIX}{step:08d}"
    if (folder / COMMITTED).is_file():
        return folder
    if folder.exists():  # left behind by a kill before the commit
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    for name, group in tensors.items():
        save_file({key: value.contiguous() for key, value in group.items()}, folder / f"{name}.safetensors")
    for name, document in documents.items():
        (folder / f"{name}.json").write_text(json.dumps(document, indent=1, ensure_ascii=False), encoding="utf-8")
    _commit(folder, record)
    _replace(root / "LATEST", folder.name)
    for old in _committed(root)[:-keep]:
        (old / COMMITTED).unlink()  # first, so that a kill in between leaves nothing half deleted that counts
        shutil.rmtree(old)
    return folder


def newest(root: Path) -> Path | None:
    """The newest committed checkpoint, its hashes verified; None if there is none.

    Raises:
        ContractError: a file of it is missing or changed.
    """
    committed = _committed(root)
    if not committed:
        return None
    verify(committed[-1])
    return committed[-1]


def find(path: Path) -> Path:
    """The checkpoint meant by a path: itself, or the newest of a run folder.

    Raises:
        ConfigError: there is none.
    """
    if (path / COMMITTED).is_file():
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
            raise ContractError(
                f"{path} has sha256 {found}; {sha256} was committed; remove the folder to use the one before"
            )


def read_tensors(folder: Path, name: str) -> dict[str, Tensor]:
    """Tensors of one file."""
    return load_file(folder / f"{name}.safetensors")


def read_document(folder: Path, name: str) -> Any:
    """JSON-like data of one file."""
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))


def read_record(folder: Path) -> dict[str, Any]:
    """The record given to `save`."""
    return _record(folder)["record"]


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
