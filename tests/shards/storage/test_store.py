from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from shards.errors import ContractError, StoreError
from shards.storage.store import LocalFolder, ObjectMissing, ObjectStore, Store, create_or_same, open_store


@pytest.fixture(params=["folder", "object store"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return LocalFolder(tmp_path / "root") if request.param == "folder" else ObjectStore(MemoryStore(), "memory:///")


def test_the_second_creation_does_nothing_and_says_so(store: Store):
    assert store.create("a/b.txt", b"first")
    assert not store.create("a/b.txt", b"second")
    assert store.get("a/b.txt") == b"first"


def test_a_file_is_stored_like_bytes(store: Store, tmp_path: Path):
    file = tmp_path / "file"
    file.write_bytes(b"0123456789")
    assert store.create("c.bin", file)
    file.unlink()
    assert store.get_range("c.bin", 3, 4) == b"3456"


def test_the_same_bytes_may_come_twice_but_no_others(store: Store):
    create_or_same(store, "x", b"1")
    create_or_same(store, "x", b"1")
    with pytest.raises(ContractError, match=r"x in .* has other bytes"):
        create_or_same(store, "x", b"2")


def test_of_many_writers_exactly_one_wins(store: Store):
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda number: store.create("race", bytes([number]) * 4096), range(24)))
    assert sum(won) == 1
    assert store.get("race") == bytes([won.index(True)]) * 4096


def test_a_hint_is_replaced(store: Store):
    store.replace("LATEST", b"1")
    store.replace("LATEST", b"2")
    assert store.get("LATEST") == b"2"


def test_all_objects_are_listed_with_sizes_and_nothing_is_left_beside(store: Store):
    for path in ("b/2", "a", "b/1"):
        store.create(path, path.encode())
    store.create("a", b"late")
    assert [(item.path, item.size_bytes) for item in store.list()] == [("a", 1), ("b/1", 3), ("b/2", 3)]
    assert [item.path for item in store.list("b")] == ["b/1", "b/2"]
    assert store.list("nothing") == []


def test_a_missing_object_is_named(store: Store):
    with pytest.raises(ObjectMissing, match=r"gone\.tar is missing"):
        store.get("gone.tar")
    with pytest.raises(ObjectMissing, match=r"gone\.tar is missing"):
        store.get_range("gone.tar", 0, 1)


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", ""])
def test_a_name_cannot_lead_out_of_the_folder(tmp_path: Path, path: str):
    with pytest.raises(ContractError, match="a relative path without"):
        LocalFolder(tmp_path).get(path)


def test_a_disk_that_refuses_is_a_store_error(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"a file where a folder belongs")
    with pytest.raises(StoreError, match="fix permissions, then rerun"):
        LocalFolder(tmp_path).create("a/b", b"")


def test_a_disk_that_opens_a_file_and_cannot_read_it_is_a_store_error():
    """Nothing is mapped at address 0, so that the kernel answers as a broken disk does: EIO."""
    process = LocalFolder(Path("/proc/self"))
    for read in (lambda: process.get("mem"), lambda: process.get_range("mem", 0, 4)):
        with pytest.raises(StoreError, match=r"reading mem in /proc/self failed; .*fix the disk"):
            read()


def test_uris_name_stores(tmp_path: Path):
    assert isinstance(open_store(tmp_path), LocalFolder)
    assert open_store(f"file://{tmp_path}").uri == str(tmp_path)
    assert isinstance(open_store("memory:///"), ObjectStore)
