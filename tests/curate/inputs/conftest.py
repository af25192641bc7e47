"""Servers of remote inputs: the S3 server of the storage tests, and a web server with faults."""

from collections.abc import Iterator

import pytest

from tests.curate.inputs.web_server import WebServer
from tests.shards.s3.conftest import PATIENCE, bucket, moto_port, proxy

__all__ = ["bucket", "moto_port", "proxy"]


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    for name, value in PATIENCE.items():
        monkeypatch.setenv(f"REELMILL_STORE_{name}", value)
    with WebServer() as server:
        yield server
