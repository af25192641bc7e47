"""Growing a dataset: new shards and a new manifest on top of what the newest version publishes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from shards.errors import ConfigError
from shards.format.commit import Commit
from shards.format.index import read_index
from shards.reading.reader import open_dataset
from shards.schema import strings
from shards.storage.store import Store, open_store
from shards.versions.manifest import Manifest
from shards.versions.publish import Draft, publish_next
from shards.versions.splits import SplitConfig


def append(
    dataset: str | Path | Store,
    commits: Sequence[Commit],
    config: Mapping[str, Any] | None = None,
    splits: SplitConfig | None = None,
) -> Manifest:
    """Make commits the next version together with all that the newest version publishes.

    Splits stay those of the newest version: a sample's side is a function of its source and its duplicates, so none
    moves unless a duplicate group newly joins two sources (`diff` names them).

    Args:
        dataset: folder, uri or store of the dataset.
        commits: shards; those that are published already are left as they are.
        config: resolved configuration of the run; that of the newest version by default.
        splits: how samples are divided, for the first version; later the same or None.

    Raises:
        ConfigError: splits are given that differ from those of the newest version.
        ContractError: as `publish`.
    """
    store = open_store(dataset)

    def draft(newest: Manifest | None) -> Draft:
        if newest is None:
            return Draft(commits, config or {}, splits or SplitConfig())
        if splits not in (None, newest.split_config):
            raise ConfigError(
                f"splits are {splits}; appending keeps {newest.split_config}; publish all commits to divide anew"
            )
        same = continued(store, newest)
        known = {commit.shard.path for commit in newest.shards}
        new = [commit for commit in commits if commit.shard.path not in known]
        return replace(
            same,
            commits=[*newest.shards, *new],
            config=newest.config if config is None else config,
            keep_keys=[*(same.keep_keys or ()), *(key for commit in new for key in _keys(store, commit))],
        )

    return publish_next(store, draft)


def continued(store: Store, manifest: Manifest) -> Draft:
    """The draft that gives a version again: what its successors start from."""
    keys = strings(open_dataset(store, manifest.version).rows, "key")
    return Draft(manifest.shards, manifest.config, manifest.split_config, keys, manifest.withdrawn)


def _keys(store: Store, commit: Commit) -> list[str]:
    return strings(read_index(store.get(commit.index.path), ["key"]), "key")
