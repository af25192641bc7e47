"""Fixtures of the tests of curation: one Ray cluster for all of them."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.curate.ray_cluster import TwoNodes


@pytest.fixture(scope="module")
def two_nodes(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[TwoNodes]":
    """Two nodes of one CPU each, connected."""
    from tests.curate.ray_cluster import two_nodes as start

    with start(tmp_path_factory.mktemp("ray")) as nodes:
        yield nodes


@pytest.fixture
def nodes(two_nodes: "TwoNodes") -> "TwoNodes":
    """The cluster with both nodes up and an empty log."""
    two_nodes.with_second()
    two_nodes.clear()
    return two_nodes


@pytest.fixture(scope="session")
def nine_videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine drawn videos, each a part of its own."""
    from tests.curate.tiny_runs import draw

    folder = tmp_path_factory.mktemp("nine")
    draw(folder, [f"v{number}" for number in range(9)])
    return folder
