"""A full disk and a lost permission: a clear error, nothing half committed, and the same command again goes on.

Tests often run as root, whom no permission stops: the writer gives up root and becomes nobody first. A full disk is a
limit that the system puts on file sizes (EFBIG) and, where this process may mount one, a small file system (ENOSPC).
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shards.storage.store import LocalFolder
from shards.versions.manifest import versions
from shards.versions.verify import verify
from tests.shards.faults.drivers import Server, data_files, resume

NOBODY = 65534


@pytest.fixture
def nobodys_folder() -> Iterator[Path]:
    """A folder that nobody owns, below folders that nobody may enter."""
    folder = Path(tempfile.mkdtemp())
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
    yield folder
    subprocess.run(["chmod", "-R", "u+rwX", folder], check=True)
    shutil.rmtree(folder)


def sizes_of(files: dict[str, bytes], suffix: str) -> list[int]:
    return sorted(len(data) for path, data in files.items() if path.endswith(suffix))


@pytest.mark.parametrize(
    ("limit_of", "what"),
    [
        (lambda files: 100, "shard.tar"),
        (lambda files: sizes_of(files, ".tar")[-1] - 1, "shard.tar"),
        (lambda files: sizes_of(files, ".parquet")[0] - 1, "000000.parquet"),
        (lambda files: sizes_of(files, ".plan.arrow")[0] - 1, ".arrow"),
    ],
)
def test_a_disk_that_is_full_at_an_object_gives_an_error_that_names_it_and_a_rerun_goes_on(
    server: Server,
    tmp_path: Path,
    undisturbed: dict[str, bytes],
    limit_of: Callable[[dict[str, bytes]], int],
    what: str,
):
    said = server.run(tmp_path / "dataset", tmp_path, file_limit=limit_of(undisturbed))
    assert said["error"] == "StoreError"
    assert what in said["message"]
    assert "failed; [Errno 27] " in said["message"]
    assert "File too large" in said["message"]
    assert said["message"].endswith("; free space or fix permissions, then rerun")
    assert data_files(tmp_path / "dataset").items() <= undisturbed.items()
    assert [path.name for path in tmp_path.rglob("*.tmp")] == []
    assert versions(LocalFolder(tmp_path / "dataset")) == []
    assert server.run(tmp_path / "dataset", tmp_path) == {"version": 1}
    assert data_files(tmp_path / "dataset") == undisturbed
    assert verify(tmp_path / "dataset") == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 40 KiB: the first shard of 12 + 20 + 4 KiB fits, the second does not."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=40k", "tmpfs", folder], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"this process may not mount a small disk: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_disk_without_space_keeps_what_is_committed_and_goes_on_when_there_is_space(
    server: Server, tmp_path: Path, small_disk: Path, undisturbed: dict[str, bytes]
):
    said = server.run(small_disk / "dataset", tmp_path)
    assert said["error"] == "StoreError"
    assert "000001.tar failed; [Errno 28] No space left on device" in said["message"]
    kept = data_files(small_disk / "dataset")
    assert sorted(kept) == [
        "commits/cdcdcdcd/000000.json",
        "index/toy/cdcdcdcd-000000.parquet",
        "shards/toy/cdcdcdcd-000000.tar",
    ]
    assert kept.items() <= undisturbed.items()
    subprocess.run(["mount", "-o", "remount,size=1m", small_disk], check=True)
    assert server.run(small_disk / "dataset", tmp_path) == {"version": 1}
    assert data_files(small_disk / "dataset") == undisturbed


@pytest.mark.parametrize(
    ("point", "folder", "what"),
    [
        ("shard-read:1", "dataset/shards/toy", "000000.tar"),
        ("commit-tar:2", "dataset/index/toy", "000001.parquet"),
        ("commit-index:2", "dataset/commits/cdcdcdcd", "000001.json"),
        ("publish-plan:1", "dataset/manifests", "v000001.json"),
        ("publish-manifest:1", "dataset", "README.md"),
    ],
)
def test_a_permission_lost_on_the_way_gives_an_error_that_names_the_object_and_a_rerun_goes_on(
    server: Server, nobodys_folder: Path, undisturbed: dict[str, bytes], point: str, folder: str, what: str
):
    """The writer pauses at the point while its folder becomes read-only."""
    root = nobodys_folder / "dataset"
    writer = server.start(root, nobodys_folder, fault=f"{point}:stop", uid=NOBODY)
    assert server.wait(writer) == {"stopped": True}
    closed = nobodys_folder / folder
    if not closed.exists():
        closed = nobodys_folder
    closed.chmod(0o555)
    resume(writer)
    said = server.wait(writer)
    assert said["error"] == "StoreError"
    assert "Permission denied" in said["message"]
    assert what in said["message"]
    assert data_files(root).items() <= undisturbed.items()
    closed.chmod(0o755)
    assert server.run(root, nobodys_folder, uid=NOBODY) == {"version": 1}
    assert data_files(root) == undisturbed
    assert {problem.code for problem in verify(root)} <= {"leftover"}


def test_a_scratch_folder_that_may_not_be_written_is_named(server: Server, nobodys_folder: Path):
    (nobodys_folder / "scratch").mkdir(mode=0o555)
    said = server.run(nobodys_folder / "dataset", nobodys_folder / "scratch", uid=NOBODY)
    assert said["error"] == "StoreError"
    assert "scratch failed" in said["message"]
    assert "Permission denied" in said["message"]
