"""Fixtures of all tests: the safe child, and real material named by the environment."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from curate.media.child import MediaChild, MediaConfig


@pytest.fixture(scope="session")
def media_child(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MediaChild]:
    """One child over many tests, as a worker has one over many videos."""
    with MediaChild(MediaConfig(), tmp_path_factory.mktemp("media-scratch")) as child:
        yield child


@pytest.fixture(scope="session")
def real_videos() -> Path:
    """The folder of real clips with its MANIFEST.csv."""
    return _folder("REELMILL_REAL_VIDEOS", "real clips and their MANIFEST.csv")


def _folder(variable: str, what: str) -> Path:
    if not os.environ.get(variable):
        pytest.skip(f"{variable} is not set; it names a folder of {what}")
    return Path(os.environ[variable]).resolve()
