"""Datasets on a real S3 server over a network that fails: the same bytes, or an error that says what and where."""

import pickle
import signal
import time
from pathlib import Path

import pytest

from shards.errors import ConfigError, ContractError, StoreError
from shards.reading.reader import open_dataset
from shards.storage.objects import Store
from shards.storage.store import ObjectMissing, create_or_same, open_store
from shards.versions.manifest import versions
from shards.versions.verify import verify
from tests.shards.faults.drivers import SHARDS, Server, resume, write_dataset
from tests.shards.s3.conftest import Bucket
from tests.shards.s3.proxy import Fault, Kind

ALL = dict(enumerate(SHARDS))
WAITS = [pytest.param(kind, marks=pytest.mark.slow) for kind in ("slow", "silence")]  # time passes in these


def objects(store: Store) -> dict[str, bytes]:
    return {item.path: store.get(item.path) for item in store.list()}


def test_a_dataset_is_written_published_read_and_verified(bucket: Bucket, scratch: Path, local_files: dict[str, bytes]):
    assert write_dataset(bucket.uri, scratch, ALL).version == 1
    assert objects(bucket.open()) == local_files
    dataset = open_dataset(bucket.uri)
    assert [dataset.read(n)["mp4"] for n in range(3)] == [f"clip {key}".encode() * 100 for key in "abc"]
    assert pickle.loads(pickle.dumps(dataset)).read(2) == dataset.read(2)
    assert verify(bucket.uri) == []


def test_an_empty_member_is_read_and_one_behind_the_end_is_short(bucket: Bucket, scratch: Path):
    write_dataset(bucket.uri, scratch, ALL, caption="")
    assert open_dataset(bucket.uri).read(0)["txt"] == b""
    store = bucket.open()
    store.create("ten", b"0123456789")
    assert store.get_range("ten", 8, 5) == b"89"
    assert store.get_range("ten", 20, 5) == b""
    with pytest.raises(ObjectMissing, match="none is missing in s3://"):
        store.get_range("none", 0, 5)


@pytest.mark.parametrize("kind", ["503", "429", "reset", "lost reply", WAITS[1]])
def test_writing_survives_faults_of_the_network(
    bucket: Bucket, scratch: Path, local_files: dict[str, bytes], kind: Kind
):
    """The first PUT of each kind of object fails; a lost reply is one whose object was made."""
    parts = (".tar", ".parquet", "000001.json", ".plan.arrow", "v000001.json", "LATEST")
    bucket.proxy.reset(*(Fault(kind, "PUT", part) for part in parts))
    assert write_dataset(bucket.uri, scratch, ALL).version == 1
    assert sum(done == kind for _, _, done in bucket.proxy.log.requests) == len(parts)
    store = bucket.open()
    assert objects(store) == local_files
    assert versions(store) == [1]


@pytest.mark.parametrize("kind", ["503", "429", "reset", "reset in body", "short body", WAITS[0], "silence"])
def test_reading_survives_faults_of_the_network(bucket: Bucket, scratch: Path, kind: Kind):
    write_dataset(bucket.uri, scratch, ALL)
    parts = ("v000001.json", ".plan.arrow", "000000.tar", "list-type")
    bucket.proxy.reset(*(Fault(kind, "GET", part) for part in parts))
    assert open_dataset(bucket.uri).read(1)["mp4"] == b"clip b" * 100
    assert sum(done == kind for _, _, done in bucket.proxy.log.requests) == len(parts)


def test_an_answer_of_wrong_length_is_asked_for_again(bucket: Bucket, scratch: Path):
    write_dataset(bucket.uri, scratch, ALL)
    bucket.proxy.reset(Fault("wrong length", "GET", ".tar", times=3))
    assert open_dataset(bucket.uri).read_member(1, "mp4") == b"clip b" * 100
    bucket.proxy.reset(Fault("wrong length", "GET", ".tar", times=99))
    with pytest.raises(StoreError, match=r"000000\.tar .* gave 556 bytes of 1112 again and again"):
        open_dataset(bucket.uri).read_member(1, "mp4")
    bucket.proxy.reset(Fault("wrong length", "GET", ".plan.arrow", times=99))
    with pytest.raises(ContractError, match="is not what the manifest names"):
        open_dataset(bucket.uri)


def test_a_creation_whose_answer_was_lost_is_ours(bucket: Bucket):
    store = bucket.open(Fault("lost reply", "PUT", "mine"))
    assert store.create("mine", b"these bytes")
    assert bucket.proxy.log.count("PUT", "mine") == 2  # the second found the object of the first
    assert store.get("mine") == b"these bytes"


def test_a_creation_that_somebody_else_made_is_theirs_whatever_was_lost(bucket: Bucket):
    assert bucket.open().create("theirs", b"their bytes")
    store = bucket.open(Fault("lost reply", "PUT", "theirs"))
    assert not store.create("theirs", b"other bytes")
    assert store.get("theirs") == b"their bytes"
    with pytest.raises(ContractError, match="has other bytes than this run made"):
        create_or_same(store, "theirs", b"other bytes")


@pytest.mark.parametrize(("kind", "method"), [("503", "GET"), ("503", "PUT"), ("silence", "GET"), ("reset", "PUT")])
def test_a_store_that_never_answers_is_given_up_within_the_deadline(bucket: Bucket, kind: Kind, method: str):
    """Deadline 8 s; nothing begins after it, and one request takes 0.6 s of silence at most."""
    bucket.open().create("there", b"x")
    store = bucket.open(Fault(kind, method, "there", times=999))
    started = time.monotonic()
    with pytest.raises(StoreError, match=r"(reading|writing) there in s3://.* failed; .*; check network, credentials"):
        store.get("there") if method == "GET" else store.replace("there", b"y")
    assert time.monotonic() - started < 12


def test_a_refusal_is_not_asked_for_again(bucket: Bucket):
    store = bucket.open(Fault("403", "PUT", times=99))
    with pytest.raises(StoreError, match=r"writing x in s3://.* failed"):
        store.create("x", b"")
    assert bucket.proxy.log.count("PUT", "x") == 1


@pytest.mark.parametrize("point", ["commit-tar:1", "commit-index:2", "publish-manifest:1"])
def test_after_a_kill_a_rerun_gives_the_same_bytes(
    server: Server, bucket: Bucket, scratch: Path, local_files: dict[str, bytes], point: str
):
    killed = server.run(bucket.uri, scratch, fault=point, environment=bucket.environment)
    assert killed == {"signal": signal.SIGKILL}
    assert objects(bucket.open()).items() <= local_files.items()
    assert server.run(bucket.uri, scratch, environment=bucket.environment) == {"version": 1}
    assert objects(bucket.open()) == local_files


def test_two_drivers_at_once_write_the_same_dataset_once(
    server: Server, bucket: Bucket, scratch: Path, local_files: dict[str, bytes]
):
    writers = [server.start(bucket.uri, scratch, environment=bucket.environment) for _ in range(2)]
    assert [server.wait(pid) for pid in writers] == [{"version": 1}] * 2
    assert objects(bucket.open()) == local_files


def test_a_writer_that_wakes_up_after_its_retry_finds_its_work_done(
    server: Server, bucket: Bucket, scratch: Path, local_files: dict[str, bytes]
):
    zombie = server.start(bucket.uri, scratch, fault="commit-tar:1:stop", environment=bucket.environment)
    assert server.wait(zombie) == {"stopped": True}
    assert server.run(bucket.uri, scratch, environment=bucket.environment) == {"version": 1}
    resume(zombie)
    assert server.wait(zombie) == {"version": 1}
    assert objects(bucket.open()) == local_files


def test_a_zombie_with_other_content_says_so_and_changes_nothing(
    server: Server, bucket: Bucket, scratch: Path, local_files: dict[str, bytes]
):
    zombie = server.start(
        bucket.uri, scratch, fault="shard-synced:1:stop", caption="another square", environment=bucket.environment
    )
    assert server.wait(zombie) == {"stopped": True}
    assert server.run(bucket.uri, scratch, environment=bucket.environment) == {"version": 1}
    resume(zombie)
    assert "has other bytes than this run made" in server.wait(zombie)["message"]
    assert objects(bucket.open()) == local_files


def test_of_two_publishers_of_a_number_one_wins_and_the_other_is_the_next_version(
    server: Server, bucket: Bucket, scratch: Path
):
    late = server.start(bucket.uri, scratch, shards=[0], fault="publish-plan:1:stop", environment=bucket.environment)
    assert server.wait(late) == {"stopped": True}
    assert server.run(bucket.uri, scratch, shards=[1], environment=bucket.environment) == {"version": 1}
    resume(late)
    said = f"another publisher made version 1 of {bucket.uri}; this is the next"
    assert server.wait(late) == {"version": 2, "said": [said]}
    assert verify(bucket.uri) == []


def test_patience_is_set_by_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("REELMILL_STORE_TIMEOUT_S", "-1")
    with pytest.raises(ConfigError, match=r"environment REELMILL_STORE_\*.*timeout_s"):
        open_store("s3://bucket/x")
