"""Several real processes on one dataset: one wins, the others say so or find their work done; nothing is mixed."""

import signal
from pathlib import Path

import pytest

from shards.storage.store import LocalFolder
from shards.versions.manifest import read_manifest, versions
from shards.versions.verify import verify
from tests.shards.faults.drivers import Server, data_files, kill, resume

STOPPED = {"stopped": True}


def test_two_drivers_at_once_write_the_same_dataset_once(server: Server, tmp_path: Path, undisturbed: dict[str, bytes]):
    writers = [server.start(tmp_path / "dataset", tmp_path) for _ in range(2)]
    assert [server.wait(pid) for pid in writers] == [{"version": 1}] * 2
    assert data_files(tmp_path / "dataset") == undisturbed
    assert verify(tmp_path / "dataset") == []


@pytest.mark.parametrize("point", ["shard-synced", "object-beside", "object-named", "commit-tar", "publish-plan"])
def test_a_writer_that_wakes_up_after_its_retry_finds_its_work_done(
    server: Server, tmp_path: Path, undisturbed: dict[str, bytes], point: str
):
    zombie = server.start(tmp_path / "dataset", tmp_path, fault=f"{point}:1:stop")
    assert server.wait(zombie) == STOPPED
    assert server.run(tmp_path / "dataset", tmp_path) == {"version": 1}
    resume(zombie)
    assert server.wait(zombie) == {"version": 1}
    assert data_files(tmp_path / "dataset") == undisturbed
    assert verify(tmp_path / "dataset") == []


@pytest.mark.parametrize("point", ["shard-synced", "object-beside"])
def test_a_zombie_with_other_content_says_so_and_changes_nothing(
    server: Server, tmp_path: Path, undisturbed: dict[str, bytes], point: str
):
    zombie = server.start(tmp_path / "dataset", tmp_path, fault=f"{point}:1:stop", caption="another square")
    assert server.wait(zombie) == STOPPED
    assert server.run(tmp_path / "dataset", tmp_path) == {"version": 1}
    resume(zombie)
    said = server.wait(zombie)
    assert said["error"] == "ContractError"
    assert "cdcdcdcd-000000.tar" in said["message"]
    assert "has other bytes than this run made" in said["message"]
    assert data_files(tmp_path / "dataset") == undisturbed
    assert verify(tmp_path / "dataset") == []


def test_of_two_publishers_of_a_number_one_wins_and_the_other_is_the_next_version(server: Server, tmp_path: Path):
    """Both saw no version; each has its own shard; the second to come names the first as its parent."""
    root = tmp_path / "dataset"
    late = server.start(root, tmp_path, shards=[0], fault="publish-plan:1:stop")
    assert server.wait(late) == STOPPED
    assert server.run(root, tmp_path, shards=[1]) == {"version": 1}
    resume(late)
    said = f"another publisher made version 1 of {root}; this is the next"
    assert server.wait(late) == {"version": 2, "said": [said]}
    first, second = (read_manifest(LocalFolder(root), number) for number in (1, 2))
    assert versions(LocalFolder(root)) == [1, 2]
    assert [commit.shard_no for commit in first.shards] == [1]
    assert second.parent is not None
    assert second.parent.sha256 == first.sha256()
    assert verify(root) == []


def test_of_two_publishers_that_reach_the_manifest_together_exactly_one_gets_the_number(server: Server, tmp_path: Path):
    """Both are paused with their manifest ready beside its name, so that the link alone decides."""
    root = tmp_path / "dataset"
    ready = [server.start(root, tmp_path, shards=[number], fault="object-beside:5:stop") for number in (0, 1)]
    assert [server.wait(pid) for pid in ready] == [STOPPED] * 2
    assert versions(LocalFolder(root)) == []
    for pid in ready:
        resume(pid)
    first, second = sorted((server.wait(pid) for pid in ready), key=lambda answer: answer["version"])
    assert first == {"version": 1}
    assert second["version"] == 2
    assert second["said"] == [f"another publisher made version 1 of {root}; this is the next"]
    assert verify(root) == []


def test_a_zombie_killed_while_it_sleeps_leaves_only_what_nobody_reads(
    server: Server, tmp_path: Path, undisturbed: dict[str, bytes]
):
    zombie = server.start(tmp_path / "dataset", tmp_path, fault="object-beside:2:stop")
    assert server.wait(zombie) == STOPPED
    assert server.run(tmp_path / "dataset", tmp_path) == {"version": 1}
    kill(zombie)
    assert server.wait(zombie) == {"signal": signal.SIGKILL}
    assert data_files(tmp_path / "dataset") == undisturbed
    assert [problem.code for problem in verify(tmp_path / "dataset")] == ["leftover"]
