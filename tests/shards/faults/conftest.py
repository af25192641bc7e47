from collections.abc import Iterator

import pytest

from tests.shards.faults.drivers import Server, data_files


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture(scope="session")
def undisturbed(server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files that a run gives which nothing disturbs."""
    folder = tmp_path_factory.mktemp("undisturbed")
    assert server.run(folder / "dataset", folder) == {"version": 1}
    return data_files(folder / "dataset")
