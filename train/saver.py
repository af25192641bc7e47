"""Checkpoints written while training goes on: at most one under way, and none counts before all its files are there."""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from train import checkpoint, tensor_files
from train.checkpoint import CheckpointConfig
from train.parallel import World, from_first_rank, wait_for_all


class Saver:
    """One rank's part in writing the checkpoints of a run; every rank must make the same calls."""

    def __init__(self, config: CheckpointConfig, root: Path, world: World) -> None:
        self._config, self._root, self._world = config, root, world
        self._committing = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._under_way: Future[None] | None = None

    def save(
        self, step: int, groups: tensor_files.Groups, documents: Mapping[str, Any], record: Mapping[str, Any]
    ) -> None:
        """Copy the tensors and start to write them, after the one before is finished.

        Args:
            step: finished optimiser steps.
            groups: per group, tensors by name.
            documents: per file name, JSON-like data.
            record: small JSON-like data of the commit record.

        Raises:
            OSError: the checkpoint before this one could not be written.
        """
        self.wait()
        folder = checkpoint.of_step(self._root, step)
        if self._world.is_first:
            checkpoint.fresh(self._root, step)
        wait_for_all(self._world)
        written = tensor_files.write(folder, groups, self._world)
        self._under_way = self._committing.submit(self._finish, written, folder, documents, record)
        if not self._config.beside:
            self.wait()

    def wait(self) -> None:
        """Return when what was begun is committed; raises what went wrong."""
        if self._under_way is not None:
            under_way, self._under_way = self._under_way, None
            under_way.result()

    def close(self) -> None:
        """Wait, and for the other ranks too: after this the newest checkpoint is there for all."""
        self.wait()
        self._committing.shutdown()
        wait_for_all(self._world)

    def _finish(
        self, written: Future[Any], folder: Path, documents: Mapping[str, Any], record: Mapping[str, Any]
    ) -> None:
        written.result()  # of all ranks: the last thing that writing does is to gather them
        if self._world.is_first:
            checkpoint.commit(folder, documents, record, self._config.keep)


def newest_for_all(root: Path, world: World) -> Path | None:
    """The checkpoint that all ranks go on from: the newest whole one that the first rank finds; None if there is none.

    Raises:
        ContractError: there are checkpoints, all of them damaged.
    """
    found = checkpoint.newest(root) if world.is_first else None
    step = from_first_rank(-1 if found is None else checkpoint.step_of(found), world)
    return None if step < 0 else checkpoint.of_step(root, int(step))
