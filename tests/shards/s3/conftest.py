"""A real S3 server (moto, which honours If-None-Match: *) in a process of its own, behind the faulty proxy."""

import http.client
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from shards.storage.objects import Store
from shards.storage.store import open_store
from tests.shards.faults.drivers import SHARDS, Server, data_files, write_dataset
from tests.shards.s3.proxy import Fault, Proxy

PATIENCE = {"READ_TIMEOUT_S": "0.6", "TIMEOUT_S": "1.5", "MAX_RETRIES": "4", "DEADLINE_S": "8", "FIRST_WAIT_S": "0.02"}


@dataclass(frozen=True)
class Bucket:
    """A bucket of its own, the network before it, and what a process needs to reach it."""

    uri: str
    proxy: Proxy
    environment: dict[str, str]

    def open(self, *faults: Fault) -> Store:
        """The store; from now on with these faults."""
        self.proxy.reset(*faults)
        return open_store(self.uri)


@pytest.fixture(scope="session")
def moto_port() -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
    yield port
    process.terminate()
    process.wait()


@pytest.fixture(scope="session")
def proxy(moto_port: int) -> Iterator[Proxy]:
    proxy = Proxy(moto_port)
    yield proxy
    proxy.close()


@pytest.fixture
def bucket(
    request: pytest.FixtureRequest, moto_port: int, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bucket]:
    name = f"b{abs(hash(request.node.nodeid)):x}"
    connection = http.client.HTTPConnection("127.0.0.1", moto_port, timeout=10)
    connection.request("PUT", f"/{name}")
    assert connection.getresponse().status == 200
    connection.close()
    environment = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.port}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        **{f"REELMILL_STORE_{name}": value for name, value in PATIENCE.items()},
    }
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    proxy.reset()
    yield Bucket(f"s3://{name}/dataset", proxy, environment)
    proxy.reset()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture(scope="session")
def local_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The same dataset on a disk."""
    folder = tmp_path_factory.mktemp("local")
    write_dataset(folder / "dataset", folder, dict(enumerate(SHARDS)))
    return data_files(folder / "dataset")


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    return tmp_path
