"""Every kind of damage: `verify` names it, reading refuses the bytes or gives the right ones, nothing is executed."""

import io
import pickle
import shutil
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shards.errors import ContractError, ReelmillError
from shards.format.tar import BLOCK, parse_tar
from shards.reading.reader import open_dataset
from shards.versions.verify import verify
from tests.shards.faults.drivers import write_dataset

KEYS = {0: ("a", "b", "c"), 1: ("d",)}
TAR = "shards/toy/cdcdcdcd-000000.tar"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    write_dataset(folder / "dataset", folder, KEYS)
    return folder / "dataset"


@pytest.fixture
def root(tmp_path: Path, sound: Path) -> Path:
    shutil.copytree(sound, tmp_path / "dataset")
    return tmp_path / "dataset"


def read_all(root: Path) -> list[dict[str, bytes]]:
    dataset = open_dataset(root)
    return [dataset.read(sample_id) for sample_id in range(len(dataset))]


def samples_or_error(root: Path) -> list[dict[str, bytes]] | None:
    """All samples; None if a read refused. Anything but our own errors is a failure of the test."""
    try:
        return read_all(root)
    except ReelmillError:
        return None


def offset(root: Path, name: str, sample_id: int) -> int:
    return open_dataset(root).rows.column(name)[sample_id].as_py()


def codes(root: Path) -> set[str]:
    return {problem.code for problem in verify(root)}


def edit(path: Path, change: Callable[[bytearray], None]) -> None:
    data = bytearray(path.read_bytes())
    change(data)
    path.unlink()
    path.write_bytes(data)


def flip(path: Path, at: int) -> None:
    edit(path, lambda data: data.__setitem__(at, data[at] ^ 1))


@pytest.mark.parametrize(
    "place", ["at a sample", "between members", "in a payload", "in a header", "before the end mark"]
)
def test_a_truncation_is_found_by_verify_and_by_the_reads_that_miss_bytes(root: Path, sound: Path, place: str):
    size = {
        "at a sample": offset(root, "json_offset", 1) - BLOCK,
        "between members": offset(root, "mp4_offset", 1) - BLOCK,
        "in a payload": offset(root, "mp4_offset", 1) + 100,
        "in a header": offset(root, "mp4_offset", 1) - 200,
        "before the end mark": offset(root, "txt_offset", 2) + BLOCK,
    }[place]
    edit(root / TAR, lambda data: data.__delitem__(slice(size, None)))
    assert codes(root) == {"size", "tar"}
    dataset = open_dataset(root)
    assert dataset.read(0) == open_dataset(sound).read(0)
    assert len(dataset) == 4  # never a short epoch
    if place == "before the end mark":
        assert read_all(root) == read_all(sound)
        return
    with pytest.raises(ContractError, match=r"000000\.tar .* the file is damaged"):
        dataset.read(1)


@pytest.mark.parametrize("member", ["json", "mp4", "txt"])
def test_a_bit_flipped_in_a_payload_is_found_by_verify_and_by_reading(root: Path, member: str):
    flip(root / TAR, offset(root, f"{member}_offset", 1))
    assert {"sha256", "member"} <= codes(root)
    with pytest.raises(ContractError, match=rf"sample 1, \.{member}\); the file is damaged"):
        open_dataset(root).read(1)


@pytest.mark.parametrize("field", [0, 100, 124, 136, 148, 156, 257, 300])
def test_a_bit_flipped_in_a_header_is_found_by_verify_and_by_reading(root: Path, field: int):
    """Name, mode, size, time, checksum, type, magic and group name."""
    flip(root / TAR, offset(root, "mp4_offset", 1) - BLOCK + field)
    assert {"sha256"} <= codes(root) <= {"sha256", "tar"}
    dataset = open_dataset(root)
    with pytest.raises(ContractError, match=r"another header before them \(sample 1, \.mp4\); the file is damaged"):
        dataset.read_member(1, "mp4")
    assert [len(dataset.read(number)) for number in (0, 2)] == [3, 3]  # it ends neither the shard nor the epoch


def test_a_hole_of_zeros_is_found_by_verify_and_by_reading(root: Path):
    start, end = offset(root, "json_offset", 1) - BLOCK, offset(root, "json_offset", 2) - BLOCK
    edit(root / TAR, lambda data: data.__setitem__(slice(start, end), bytes(end - start)))
    assert codes(root) == {"sha256", "tar"}
    with pytest.raises(ContractError, match="the file is damaged"):
        open_dataset(root).read(1)


def rewrite_tar(root: Path, change: Callable[[list[tuple[str, bytes]]], Sequence[tuple[str, bytes]]]) -> None:
    with tarfile.open(root / TAR) as old:
        files = [(info.name, old.extractfile(info).read()) for info in old]  # type: ignore[union-attr]
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.USTAR_FORMAT) as new:
        for name, data in change(files):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            new.addfile(info, io.BytesIO(data))
    edit(root / TAR, lambda data: data.__setitem__(slice(None), sink.getvalue()))


@pytest.mark.parametrize("name", ["b.json", "b.mp4", "b.txt"])
def test_a_missing_member_is_found_by_verify_and_by_reading(root: Path, name: str):
    rewrite_tar(root, lambda files: [file for file in files if file[0] != name])
    assert "tar" in codes(root)
    with pytest.raises(ContractError, match="the file is damaged"):
        read_all(root)


class _Canary:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["b.pkl", "b.pyd", "b.pth", "b.latent.npy", "../b.mp4", "/b.mp4", "b/../../b.mp4"])
def test_members_that_would_execute_or_escape_are_refused_and_nothing_happens(root: Path, tmp_path: Path, name: str):
    bad = pickle.dumps(_Canary(tmp_path / "canary"))
    before = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    rewrite_tar(root, lambda files: [(name, bad) if file[0] == "b.mp4" else file for file in files])
    assert "tar" in codes(root)
    with pytest.raises(ContractError, match="the file is damaged"):
        read_all(root)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == before


def test_a_tampered_index_is_found_by_verify_and_refused_by_publishing(root: Path, tmp_path: Path):
    path = root / "index/toy/cdcdcdcd-000000.parquet"
    table = pq.read_table(path)
    other = table.set_column(table.column_names.index("caption"), "caption", pa.array(["x"] * 3))
    pq.write_table(other, tmp_path / "new")
    edit(path, lambda data: data.__setitem__(slice(None), (tmp_path / "new").read_bytes()))
    assert {"plan_index", "content"} <= codes(root)
    with pytest.raises(ContractError, match=r"000000\.parquet .* has other bytes than this run made"):
        write_dataset(root, tmp_path, KEYS)


@pytest.mark.parametrize("tampering", [b'"num_samples": 9', b'"version": 2', b'"size_bytes": 1', b"{}", b""])
def test_a_tampered_manifest_is_found_by_verify_and_refused_by_reading(root: Path, tampering: bytes):
    path = root / "manifests/v000001.json"
    pinned = open_dataset(root).manifest_sha256
    name = tampering.partition(b":")[0]
    data = path.read_bytes()
    start = data.find(name) if name.startswith(b'"') else 0
    end = data.find(b",", start) if name.startswith(b'"') else len(data)
    edit(path, lambda data: data.__setitem__(slice(start, end), tampering))
    assert codes(root) & {"manifest", "latest"}
    with pytest.raises(ReelmillError):
        open_dataset(root, 1, pinned)


def test_a_foreign_file_is_found_and_is_in_nobodys_way(root: Path, sound: Path):
    (root / "shards/toy/evil.pkl").write_bytes(b"\x80\x04")
    (root / "shards/toy/cdcdcdcd-000002.tar").symlink_to("/etc/passwd")
    assert {(problem.code, problem.path) for problem in verify(root)} == {
        ("foreign", "shards/toy/evil.pkl"),
        ("orphan", "shards/toy/cdcdcdcd-000002.tar"),
    }
    assert read_all(root) == read_all(sound)


def mutate(data: bytearray, draw: Callable[[st.SearchStrategy[Any]], Any]) -> None:
    """A few changes: bytes, whole blocks removed, doubled, zeroed or swapped, header fields with a right checksum."""
    for _ in range(draw(st.integers(1, 3))):
        blocks = max(1, len(data) // BLOCK)
        at, other = (BLOCK * draw(st.integers(0, blocks - 1)) for _ in range(2))
        kind = draw(st.sampled_from(["byte", "truncate", "remove", "double", "zero", "swap", "field"]))
        if kind == "byte" and data:
            data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
        elif kind == "truncate":
            del data[draw(st.integers(0, len(data))) :]
        elif kind == "remove":
            del data[at : at + BLOCK]
        elif kind == "double":
            data[at:at] = data[other : other + BLOCK]
        elif kind == "zero":
            data[at : at + BLOCK] = bytes(len(data[at : at + BLOCK]))
        elif kind == "swap":
            data[at : at + BLOCK], data[other : other + BLOCK] = (
                data[other : other + BLOCK],
                data[at : at + BLOCK],
            )
        elif kind == "field" and len(data) >= at + BLOCK:
            start, size = draw(st.sampled_from([(0, 100), (124, 12), (156, 1), (157, 100), (345, 155)]))
            value = draw(st.binary(min_size=1, max_size=min(size, 12)))
            data[at + start : at + start + len(value)] = value
            head = data[at : at + 148] + b" " * 8 + data[at + 156 : at + BLOCK]
            data[at + 148 : at + 156] = b"%06o\0 " % sum(head)


def check_mutated(root: Path, sound: Path, choices: st.DataObject) -> None:
    """Damage is found, a read is right or refused, and the parser ends."""
    original = (sound / TAR).read_bytes()
    data = bytearray(original)
    mutate(data, choices.draw)
    (root / TAR).write_bytes(data)
    try:
        members = parse_tar(memoryview(bytes(data)))
        assert all(0 < m.offset <= m.offset + m.size <= len(data) for m in members)
    except ContractError:
        pass
    assert (verify(root) == []) == (bytes(data) == original)
    assert samples_or_error(root) in (None, read_all(sound))


RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@settings(RELAXED, max_examples=100)
@given(choices=st.data())
def test_a_mutated_shard_is_never_taken_for_a_sound_one(root: Path, sound: Path, choices: st.DataObject):
    check_mutated(root, sound, choices)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(RELAXED, max_examples=10_000)
@given(choices=st.data())
def test_ten_thousand_mutated_shards_crash_and_hang_nothing(root: Path, sound: Path, choices: st.DataObject):
    check_mutated(root, sound, choices)
