"""Remote files on a local disk: over a network that fails, below a limit, shared between processes."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from curate.inputs.remote import open_input
from curate.inputs.staging import Staging, Stopped, _files
from shards.errors import MediaError
from tests.curate.inputs.web_server import WebServer
from tests.shards.s3.conftest import Bucket
from tests.shards.s3.proxy import Fault

DATA = os.urandom(300_000)
HASH = hashlib.sha256(DATA).hexdigest()


def staging(folder: Path, limit_bytes: int = 1 << 20) -> Staging:
    return Staging(folder / "staged", limit_bytes, private_hosts=True)


def fetched(folder: Path, uri: str, limit_bytes: int = 1 << 20) -> bytes:
    with staging(folder, limit_bytes).held(uri) as staged:
        data = staged.path.read_bytes()
        assert staged.sha256 == hashlib.sha256(data).hexdigest()
        assert staged.path.suffix == ".mp4"
        return data


def code_of(folder: Path, uri: str, limit_bytes: int = 1 << 20, private_hosts: bool = True) -> str:
    with pytest.raises(MediaError) as caught, Staging(folder / "staged", limit_bytes, private_hosts).held(uri):
        pass
    assert uri.partition("?")[0] in str(caught.value) or caught.value.code == "refused_address"
    return caught.value.code


def test_a_file_of_a_web_server_is_fetched_once_and_kept(tmp_path: Path, web: WebServer):
    uri = web.put("/a b.mp4".replace(" ", "%20"), DATA) + "?token=1"
    assert fetched(tmp_path, uri) == fetched(tmp_path, uri) == DATA
    assert [status for _, _, status in web.requests] == [206, 206, 206]  # what is it, its bytes, is it still the same
    assert all(path.endswith("?token=1") for path, _, _ in web.requests)


@pytest.mark.parametrize("faults", [["503", "503"], ["", "503"], ["", "short"], ["", "short", "429", "short"]])
def test_a_failing_server_costs_nothing_but_time_and_no_byte_twice(tmp_path: Path, web: WebServer, faults: list[str]):
    uri = web.put("/a.mp4", DATA)
    web.faults = list(faults)
    assert fetched(tmp_path, uri) == DATA
    first = [text for _, text, status in web.requests if status == 206 and text != "bytes=0-0"]
    half = len(DATA) // 2
    assert first[0] == f"bytes=0-{len(DATA) - 1}"
    if "short" in faults:
        assert first[1] == f"bytes={half}-{len(DATA) - 1}"


def test_a_server_without_ranges_is_read_from_the_start_and_the_bytes_are_right(tmp_path: Path, web: WebServer):
    uri = web.put("/a.mp4", DATA)
    web.has_ranges, web.faults = False, ["", "short"]
    assert fetched(tmp_path, uri) == DATA


def test_a_server_without_marks_is_never_trusted_to_go_on_with_the_same_bytes(tmp_path: Path, web: WebServer):
    uri = web.put("/a.mp4", DATA, etag=None)
    web.faults = ["", "short"]
    assert fetched(tmp_path, uri) == DATA
    assert [text for _, text, _ in web.requests[1:3]] == ["", ""]


def test_a_source_that_changes_between_two_ranges_has_a_code(tmp_path: Path, web: WebServer):
    uri = web.put("/a.mp4", DATA)
    web.faults = ["", "short"]

    def change(path: str) -> None:
        if len(web.requests) == 2:
            web.put("/a.mp4", DATA[::-1], '"2"')

    web.before = change
    assert code_of(tmp_path, uri) == "source_changed"
    assert fetched(tmp_path, uri) == DATA[::-1]  # and the next run has the new one


def test_a_source_that_changes_during_the_last_answer_has_a_code(tmp_path: Path, web: WebServer):
    uri = web.put("/a.mp4", DATA)

    def change(_: str) -> None:
        if len(web.requests) == 2:  # what is it, its bytes
            web.put("/a.mp4", DATA[::-1], '"2"')

    web.before = change
    assert code_of(tmp_path, uri) == "source_changed"


def test_what_is_wrong_with_a_source_is_a_code(tmp_path: Path, web: WebServer):
    uri = web.put("/a.mp4", DATA)
    assert code_of(tmp_path, uri.replace("/a.mp4", "/none.mp4")) == "missing"
    assert code_of(tmp_path, uri, limit_bytes=len(DATA) - 1) == "larger_than_staging"
    web.faults = ["403"]
    assert code_of(tmp_path, uri) == "no_permission"
    web.faults = ["503"] * 20
    assert code_of(tmp_path, uri) == "unreachable"
    web.faults, web.has_length = [], False
    web.has_ranges = False
    assert code_of(tmp_path, uri) == "unknown_size"


def test_an_empty_file_is_fetched_as_one(tmp_path: Path, web: WebServer):
    assert fetched(tmp_path, web.put("/a.mp4", b"")) == b""


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("file:///etc/passwd", "refused"),
        ("ftp://127.0.0.1/a.mp4", "refused_address"),
        ("http://169.254.169.254/latest/meta-data", "refused_address"),
        ("http://[fe80::1]/a.mp4", "refused_address"),
        ("http://[::ffff:169.254.169.254]/a.mp4", "refused_address"),
    ],
)
def test_no_redirect_leads_to_a_file_or_to_a_machines_secrets(tmp_path: Path, web: WebServer, target: str, code: str):
    uri = web.put("/a.mp4", DATA)
    web.redirects["/b.mp4"] = target
    assert code_of(tmp_path, uri.replace("/a.mp4", "/b.mp4")) == code


def test_a_redirect_to_another_place_of_the_web_is_followed(tmp_path: Path, web: WebServer):
    web.redirects["/b.mp4"] = web.put("/a.mp4", DATA)
    assert fetched(tmp_path, web.redirects["/b.mp4"].replace("/a.mp4", "/b.mp4")) == DATA


def test_addresses_of_this_machine_are_refused_unless_allowed(tmp_path: Path, web: WebServer):
    uri = web.put("/a.mp4", DATA)
    named = uri.replace("127.0.0.1", "localhost")
    assert code_of(tmp_path, uri, private_hosts=False) == "refused_address"
    assert code_of(tmp_path, named, private_hosts=False) == "refused_address"
    assert web.requests == []
    assert fetched(tmp_path, named) == DATA


def test_files_never_weigh_more_than_the_limit_and_used_ones_leave_first(tmp_path: Path, web: WebServer):
    uris = [web.put(f"/{number}.mp4", bytes([number]) * 100) for number in range(6)]
    folder = tmp_path / "staged"
    store = staging(tmp_path, 300)
    assert [store.fetch_ahead(uri) for uri in uris[:4]] == [True, True, True, False]  # none of those was used
    with store.held(uris[0]):
        assert not store.fetch_ahead(uris[3])
    assert store.fetch_ahead(uris[3])  # the first one was used, and left
    assert sum(file.size_bytes for file in _files(folder)) == 300
    asked = len(web.requests)
    with store.held(uris[1]) as staged:
        assert staged.path.read_bytes() == bytes([1]) * 100
    assert len(web.requests) == asked
    with store.held(uris[1]), store.held(uris[5]):  # a worker's need goes before what was fetched ahead
        assert sum(path.stat().st_size for path in folder.glob("*-*")) <= 300


def test_who_needs_room_waits_for_who_holds_it(tmp_path: Path, web: WebServer):
    uris = [web.put(f"/{number}.mp4", bytes([number]) * 200) for number in range(2)]
    seen: list[bytes] = []
    second = threading.Thread(target=lambda: seen.append(fetched(tmp_path, uris[1], 300)))
    with staging(tmp_path, 300).held(uris[0]):
        second.start()
        time.sleep(0.3)
        assert not seen
    second.join(10)
    assert seen == [bytes([1]) * 200]


def test_who_is_stopped_while_waiting_for_room_goes(tmp_path: Path, web: WebServer):
    uris = [web.put(f"/{number}.mp4", bytes([number]) * 200) for number in range(2)]
    stop = threading.Event()
    stop.set()
    stopped = Staging(tmp_path / "staged", 300, private_hosts=True, stop=stop)
    with staging(tmp_path, 300).held(uris[0]), pytest.raises(Stopped), stopped.held(uris[1]):
        pass


def test_an_object_of_a_bucket_survives_faults_and_goes_on_where_it_was_cut(tmp_path: Path, bucket: Bucket):
    bucket.open().create("a.mp4", DATA)
    uri = f"{bucket.uri}/a.mp4"
    bucket.proxy.reset(Fault("503", "HEAD", "a.mp4"), Fault("reset in body", "GET", "a.mp4"), Fault("reset", "GET"))
    assert fetched(tmp_path, uri) == DATA
    assert code_of(tmp_path, f"{bucket.uri}/none.mp4") == "missing"
    assert code_of(tmp_path, f"{bucket.uri}/a//b.mp4") == "bad_name"


def test_an_object_that_is_replaced_has_a_code(tmp_path: Path, bucket: Bucket):
    store = bucket.open()
    store.create("a.mp4", DATA)
    with staging(tmp_path).held(f"{bucket.uri}/a.mp4") as staged:
        pass
    store.replace("a.mp4", DATA[::-1])
    source = open_input(f"{bucket.uri}/a.mp4", staging(tmp_path).patience)
    with pytest.raises(MediaError, match="changed while it was read"):
        list(source.read(0, staged.state))


KILLED = """
import sys
from pathlib import Path
from curate.inputs.remote import open_input
from curate.inputs.staging import Staging
with Staging(Path(sys.argv[1]), 1 << 20, private_hosts=True).held(sys.argv[2]):
    pass
"""


def test_another_process_goes_on_where_a_killed_one_was(tmp_path: Path, web: WebServer):
    uri = web.put("/a.mp4", DATA)
    web.faults = ["", "short"]

    def hang(_: str) -> None:
        if len(web.requests) == 2:
            asked.set()
            go_on.wait(20)

    asked, go_on, web.before = threading.Event(), threading.Event(), hang
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path / "staged"), uri])
    assert asked.wait(30)
    process.send_signal(signal.SIGKILL)
    process.wait()
    go_on.set()
    assert fetched(tmp_path, uri) == DATA
    half = len(DATA) // 2
    assert [text for _, text, _ in web.requests if text == f"bytes=0-{len(DATA) - 1}"] == [f"bytes=0-{len(DATA) - 1}"]
    assert web.requests[-2][1] == f"bytes={half}-{len(DATA) - 1}"
