"""append, withdraw, compact, gc, export, push killed (-9) anywhere: the same command again ends as if undisturbed."""

import shutil
import signal
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from shards.faults import COLLECTING, COMMITTING, COMPACTING, EXPORTING, HINT, OBJECT, PUBLISHING, PUSHING, WRITING
from shards.versions.verify import verify
from tests.shards.fake_hub import FakeHub, running_hub
from tests.shards.faults.drivers import REPO, Server, data_files

pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed; pip install reelmill[hub]")
KILLED = {"signal": signal.SIGKILL}
VERSIONING = (*COMMITTING, *PUBLISHING)
OWN = {
    "append": VERSIONING,
    "withdraw": PUBLISHING,
    "compact": (*COMPACTING, *VERSIONING),
    "gc": COLLECTING,
    "export": EXPORTING,
    "push": PUSHING,
}
SHORT = {
    "append": ("commit-record", "publish-manifest"),
    "withdraw": ("publish-drafted", "publish-manifest"),
    "compact": (*COMPACTING, "publish-plan"),
    "gc": COLLECTING,
    "export": ("export-shard", "export-manifest"),
    "push": ("push-data", "push-manifest"),
}
EVERY = {
    operation: dict.fromkeys((*own, *(() if operation == "gc" else (*OBJECT, *HINT)))) for operation, own in OWN.items()
} | {"compact": dict.fromkeys((*OWN["compact"], *WRITING, *OBJECT, *HINT))}


@pytest.fixture(scope="module")
def before(server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """For each operation a dataset to begin with: one version; for compact and gc later ones too."""
    folder = tmp_path_factory.mktemp("before")
    assert server.run(folder / "one", folder) == {"version": 1}
    shutil.copytree(folder / "one", folder / "two")
    assert server.run(folder / "two", folder, operation="withdraw") == {"version": 2}
    shutil.copytree(folder / "two", folder / "three")
    assert server.run(folder / "three", folder, operation="compact") == {"version": 3}
    return {name: folder / {"compact": "two", "gc": "three"}.get(name, "one") for name in OWN}


def run(server: Server, folder: Path, hub: FakeHub, operation: str, fault: str = "") -> Mapping[str, object]:
    environment = {"HF_ENDPOINT": hub.endpoint}
    return server.run(folder / "dataset", folder, fault=fault, operation=operation, environment=environment)


def results(folder: Path, hub: FakeHub) -> dict[str, bytes]:
    """All that an operation may make: the dataset, its export, the newest commit of the repository."""
    found = {name: data for name, data in data_files(folder).items() if name.startswith("dataset")}
    return found | {f"hub/{name}": data for name, data in (hub.head(REPO)[1] if REPO in hub.commits else {}).items()}


@pytest.fixture(scope="module")
def wanted(server: Server, before: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """wanted(operation): what it gives when nothing disturbs it."""

    @cache
    def undisturbed(operation: str) -> dict[str, bytes]:
        folder = tmp_path_factory.mktemp(operation)
        with running_hub() as hub:
            shutil.copytree(before[operation], folder / "dataset")
            assert run(server, folder, hub, operation).keys() == {"version"}
            return results(folder, hub)

    return undisturbed


def killed_and_rerun(
    server: Server, folder: Path, start: Path, operation: str, fault: str, wanted: dict[str, bytes]
) -> bool:
    """Whether the process reached the fault; proves what must hold after it either way."""
    with running_hub() as hub:
        shutil.copytree(start, folder / "dataset")
        first = run(server, folder, hub, operation, fault)
        assert first == KILLED or first.keys() == {"version"}
        assert {problem.code for problem in verify(folder / "dataset")} <= {"leftover", "latest", "orphan"}
        assert run(server, folder, hub, operation).keys() == {"version"}
        assert results(folder, hub) == wanted
        assert {problem.code for problem in verify(folder / "dataset")} <= {"leftover"}
    return first == KILLED


@pytest.mark.parametrize(("operation", "point"), [(name, point) for name, points in SHORT.items() for point in points])
def test_after_a_kill_at_a_point_of_its_own_a_rerun_ends_as_if_undisturbed(
    server: Server, tmp_path: Path, before: dict[str, Path], wanted: Callable[..., Any], operation: str, point: str
):
    start, fault = before[operation], f"{point}:1"
    assert killed_and_rerun(server, tmp_path / "run", start, operation, fault, wanted(operation))


@pytest.mark.slow
@pytest.mark.parametrize(("operation", "point"), [(name, point) for name, points in EVERY.items() for point in points])
def test_after_a_kill_at_any_passage_of_any_point_a_rerun_ends_as_if_undisturbed(
    server: Server, tmp_path: Path, before: dict[str, Path], wanted: Callable[..., Any], operation: str, point: str
):
    start, number = before[operation], 1
    while killed_and_rerun(server, tmp_path / str(number), start, operation, f"{point}:{number}", wanted(operation)):
        number += 1
    assert number > 1
