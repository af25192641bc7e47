import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from shards.format.commit import Commit, commit_path, commit_shard
from shards.format.index import ROW
from shards.reading.decode import present
from shards.reading.reader import open_dataset
from shards.storage.store import LocalFolder
from shards.versions.manifest import Manifest, manifest_path, read_manifest
from shards.versions.publish import publish
from shards.versions.splits import SplitConfig
from shards.versions.verify import verify

ID = "ab" * 32


@pytest.fixture
def root(tmp_path: Path, dataset_of: Callable[..., Manifest]) -> Path:
    dataset_of(9, per_shard=4)
    return tmp_path / "dataset"


def found(root: Path, **options: bool) -> set[tuple[str, str]]:
    return {(problem.code, problem.path) for problem in verify(root, **options)}  # type: ignore[arg-type]


def rewrite(path: Path, data: bytes) -> None:
    """Change a file in spite of the writer: with a new inode, as damage to a copy would."""
    path.unlink()
    path.write_bytes(data)


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    rewrite(path, bytes(data))


def test_a_sound_dataset_has_no_problem(root: Path):
    assert verify(root, frames=True) == []
    assert verify(root, deep=False) == []


@pytest.mark.parametrize(
    "place", ["between samples", "between members", "in a payload", "in a header", "before the end"]
)
def test_a_truncated_tar_is_found_quickly_and_deeply(root: Path, place: str):
    dataset = open_dataset(root)
    mp4_offset = dataset.rows.column("mp4_offset")[2].as_py()
    last = dataset.rows.slice(3, 1).to_pylist()[0]
    size = {
        "between samples": dataset.rows.column("json_offset")[2].as_py() - 512,
        "between members": mp4_offset - 512,
        "in a payload": mp4_offset + 100,
        "in a header": mp4_offset - 100,
        "before the end": last["txt_offset"] + 512,
    }[place]
    shard = dataset.manifest.shards[0].shard.path
    rewrite(root / shard, (root / shard).read_bytes()[:size])
    assert found(root, deep=False) == {("size", shard)}
    assert found(root) == {("size", shard), ("tar", shard)}


def test_a_flipped_bit_in_a_payload_is_found_and_named(root: Path):
    dataset = open_dataset(root)
    shard = dataset.manifest.shards[0].shard.path
    flip(root / shard, dataset.rows.column("mp4_offset")[1].as_py() + 50)
    assert found(root) == {("sha256", shard), ("member", shard)}
    assert any("clip-001.mp4 is not as indexed" in problem.detail for problem in verify(root))


def test_a_flipped_bit_in_a_header_is_found(root: Path):
    dataset = open_dataset(root)
    shard = dataset.manifest.shards[0].shard.path
    flip(root / shard, dataset.rows.column("mp4_offset")[1].as_py() - 512 + 3)
    assert found(root) == {("sha256", shard), ("tar", shard)}


def test_a_missing_member_is_found(root: Path, tmp_path: Path):
    shard = read_manifest(LocalFolder(root)).shards[0].shard.path
    with tarfile.open(root / shard) as old, tarfile.open(tmp_path / "new.tar", "w", format=tarfile.USTAR_FORMAT) as new:
        for member in old:
            if member.name != "clip-002.txt":
                new.addfile(member, old.extractfile(member))
    rewrite(root / shard, (tmp_path / "new.tar").read_bytes())
    assert ("tar", shard) in found(root)


def test_missing_objects_are_found(root: Path):
    commit = read_manifest(LocalFolder(root)).shards[1]
    (root / commit.shard.path).unlink()
    (root / commit.index.path).unlink()
    assert found(root) == found(root, deep=False) == {("missing", commit.shard.path), ("missing", commit.index.path)}


def test_a_changed_index_is_found(root: Path):
    """The index of another shard of the same size in the place of this one."""
    first, second = read_manifest(LocalFolder(root)).shards[:2]
    rewrite(root / first.index.path, (root / second.index.path).read_bytes())
    codes = {code for code, path in found(root) if path in (first.index.path, first.shard.path)}
    assert codes in ({"sha256", "plan_index", "index"}, {"size", "plan_index", "index"})


def test_files_that_nobody_named_are_found(root: Path):
    (root / "notes.txt").write_text("mine")
    (root / "shards/toy/.half.tmp").write_bytes(b"x")
    shutil.copy(root / read_manifest(LocalFolder(root)).shards[0].shard.path, root / "shards/toy/abababab-000099.tar")
    assert found(root, deep=False) == {
        ("foreign", "notes.txt"),
        ("foreign", "shards/toy/.half.tmp"),
        ("orphan", "shards/toy/abababab-000099.tar"),
    }


def test_shards_that_are_committed_but_not_published_are_no_problem(root: Path, commit_clips: Callable[..., Commit]):
    commit_clips(7, ["later"])
    assert verify(root) == []


def test_damaged_manifests_and_records_are_found(root: Path):
    sound = (root / manifest_path(1)).read_bytes()
    flip(root / manifest_path(1), 30)
    assert ("manifest", manifest_path(1)) in found(root)
    rewrite(root / manifest_path(1), sound)
    rewrite(root / commit_path(ID, 0), b"{}")
    assert found(root) == {("commit", commit_path(ID, 0))}


def test_a_hint_that_points_to_nothing_or_something_else_is_found(root: Path):
    rewrite(root / "LATEST", b"v000001 " + b"0" * 64 + b"\n")
    assert found(root, deep=False) == {("latest", "LATEST")}
    rewrite(root / "LATEST", b"v000009 " + b"0" * 64 + b"\n")
    assert found(root, deep=False) == {("latest", "LATEST")}


def test_splits_that_leak_are_found(root: Path, monkeypatch: pytest.MonkeyPatch, commit_clips: Callable[..., Commit]):
    commit = commit_clips(50, [f"twin-{n}" for n in range(6)], dup_group="one")
    sides = ["train", "val"] * 3
    monkeypatch.setattr("shards.versions.plan_index.assign_splits", lambda *_: sides)
    manifest = publish(root, [commit], {}, SplitConfig())
    monkeypatch.undo()
    assert ("split", manifest.plan_index.path) in found(root)


def test_frames_that_differ_from_the_index_are_found_only_by_decoding(
    tmp_path: Path, draw: Callable[..., bytes], row_of: Callable[..., dict[str, object]], mp4: bytes
):
    rows = pa.Table.from_pylist([row_of("short", mp4), row_of("broken", mp4)], schema=ROW)
    clips = [{"mp4": draw(num_frames=20)}, {"mp4": b"no video at all"}]
    publish(tmp_path / "d", [commit_shard(tmp_path / "d", ID, 0, "toy", rows, clips, tmp_path)], {}, SplitConfig())
    assert verify(tmp_path / "d") == []
    details = [problem.detail for problem in verify(tmp_path / "d", frames=True) if problem.code == "frames"]
    assert details[0].startswith("short presents 20 frames, pts 0 to ")
    assert "; the index has 24, pts 0 to " in details[0]
    assert details[1].startswith("broken does not decode")


def test_other_pictures_at_the_same_times_are_found_by_their_digest(
    tmp_path: Path, draw: Callable[..., bytes], row_of: Callable[..., dict[str, object]], mp4: bytes
):
    digest = present(mp4, with_digest=True).digest
    rows = [row_of(key, mp4) | {"decoded_digest": digest} for key in ("other", "same")]
    clips = [{"mp4": draw(width=96)}, {"mp4": mp4}]
    table = pa.Table.from_pylist(rows, schema=ROW)
    publish(tmp_path / "d", [commit_shard(tmp_path / "d", ID, 0, "toy", table, clips, tmp_path)], {}, SplitConfig())
    assert [problem.detail for problem in verify(tmp_path / "d", frames=True)] == [
        "other shows other pictures than those that were cut"
    ]
