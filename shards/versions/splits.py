"""Which side of train, val and test a sample lies on: a pure function of its source and its duplicates.

Sources that share a duplicate group are one component; a component lies on one side, chosen by a hash, so that a source
that is added later moves no other (unless it joins two components).
"""

import hashlib
from collections.abc import Sequence

from pydantic import Field, model_validator

from shards.config import Config

SPLITS = ("train", "val", "test")


class SplitConfig(Config):
    """Shares of the splits, counted in sources."""

    val: float = Field(default=0.05, ge=0, le=1, description="Share of sources for validation.")
    test: float = Field(default=0.0, ge=0, le=1, description="Share of sources for the test.")
    seed: int = Field(default=0, description="Another seed is another division.")

    @model_validator(mode="after")
    def _leaves_something(self) -> "SplitConfig":
        if self.val + self.test >= 1:
            raise ValueError(f"val + test is {self.val + self.test}; less than 1 is allowed; lower one")
        return self


def assign_splits(video_ids: Sequence[str], dup_groups: Sequence[str | None], config: SplitConfig) -> list[str]:
    """The split of every sample; train is never empty.

    Args:
        video_ids: source of each sample.
        dup_groups: duplicate group of each sample, None for a sample of its own.
        config: shares and seed.
    """
    component_of = _components(video_ids, dup_groups)
    place = {component: _place(component, config.seed) for component in set(component_of.values())}
    side = {component: _side(value, config) for component, value in place.items()}
    if side and "train" not in side.values():
        side[max(place, key=lambda component: (place[component], component))] = "train"
    return [side[component_of[video_id]] for video_id in video_ids]


def _components(video_ids: Sequence[str], dup_groups: Sequence[str | None]) -> dict[str, str]:
    """Smallest video id of each source's component (union by smallest, with path halving)."""
    parent = {video_id: video_id for video_id in video_ids}

    def root(node: str) -> str:
        while parent[node] != node:
            parent[node] = node = parent[parent[node]]
        return node

    first_of: dict[str, str] = {}
    for video_id, group in zip(video_ids, dup_groups, strict=True):
        if group is not None:
            low, high = sorted((root(video_id), root(first_of.setdefault(group, video_id))))
            parent[high] = low
    return {video_id: root(video_id) for video_id in parent}


def _place(component: str, seed: int) -> float:
    """Uniform in [0, 1)."""
    return int.from_bytes(hashlib.sha256(f"split:{seed}:{component}".encode()).digest()[:6], "big") / 2**48


def _side(place: float, config: SplitConfig) -> str:
    if place < config.val:
        return "val"
    return "test" if place < config.val + config.test else "train"
