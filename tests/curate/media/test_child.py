import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from curate.media.child import MediaChild, MediaConfig, MediaLimits
from curate.media.opening import OpenRules, open_rules, open_video, set_open_rules
from shards.errors import MediaError, StoreError
from tests.curate.videos import moving_square, write_video


@pytest.fixture
def video(tmp_path: Path) -> str:
    return str(write_video(tmp_path / "a.mp4", moving_square(10)))


@pytest.fixture
def child(tmp_path: Path):
    with MediaChild(MediaConfig(), tmp_path / "scratch") as child:
        yield child


def test_a_child_answers_many_calls_in_one_process(child, video):
    first = child.call("probe", path=video)
    pid = child.pid
    assert child.call("probe", path=video) == first
    assert child.pid == pid
    assert (child.usage.num_calls, child.usage.num_starts) == (2, 1)
    assert child.usage.cpu_s > 0
    assert child.usage.start_cpu_s > 0
    assert child.usage.decoded_frames["probe"] == 2


def test_a_hanging_child_is_killed_by_the_deadline_and_the_next_call_works(child, video):
    child.call("probe", path=video)
    pid = child.pid
    os.kill(pid, signal.SIGSTOP)
    before_s = time.monotonic()
    with pytest.raises(MediaError) as caught:
        child.call("probe", deadline_s=0.3, path=video)
    assert caught.value.code == "deadline"
    assert time.monotonic() - before_s < 5
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert child.call("probe", path=video)["columns"]["num_packets"] == 10


def test_a_stopped_child_that_does_not_read_a_long_request_is_killed_too(child, video):
    child.call("probe", path=video)
    os.kill(child.pid, signal.SIGSTOP)
    with pytest.raises(MediaError) as caught:
        child.call("probe", deadline_s=0.3, path="x" * (1 << 20))
    assert caught.value.code == "deadline"


def test_a_child_that_dies_during_a_call_names_its_signal(child, video):
    child.call("probe", path=video)
    os.kill(child.pid, signal.SIGSTOP)
    killer = subprocess.Popen(["/bin/sh", "-c", f"sleep 0.3; kill -SEGV {child.pid}; kill -CONT {child.pid}"])
    with pytest.raises(MediaError, match="SIGSEGV") as caught:
        child.call("probe", path=video)
    killer.wait()
    assert caught.value.code == "child_killed"
    assert child.call("probe", path=video)["decoded_frames"] == 1


def test_a_child_that_died_between_calls_is_replaced_without_an_error(child, video):
    child.call("probe", path=video)
    os.kill(child.pid, signal.SIGKILL)
    time.sleep(0.1)
    assert child.call("probe", path=video)["columns"]["num_packets"] == 10
    assert child.usage.num_starts == 2


def test_closing_ends_the_process(child, video):
    child.call("probe", path=video)
    pid = child.pid
    child.close()
    assert child.pid is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_too_little_memory_is_a_code_and_not_a_crash(tmp_path, video):
    black = np.zeros((1, 8192, 8192, 3), np.uint8)
    path = str(write_video(tmp_path / "large.avi", black, codec="mjpeg", pix_fmt="yuvj444p"))
    limits = MediaLimits(memory_bytes=512 << 20, max_pixels=1 << 26)
    with MediaChild(MediaConfig(limits=limits), tmp_path / "scratch") as child:
        with pytest.raises(MediaError) as caught:
            child.call("probe", path=path)
        assert caught.value.code == "out_of_memory"
        assert child.pid is None
        assert child.call("probe", path=video)["columns"]["num_packets"] == 10


def test_too_much_cpu_time_is_a_code(child, video):
    child.call("probe", path=video)
    os.kill(child.pid, signal.SIGSTOP)
    os.kill(child.pid, signal.SIGXCPU)
    killer = subprocess.Popen(["/bin/sh", "-c", f"sleep 0.3; kill -CONT {child.pid}"])
    with pytest.raises(MediaError) as caught:
        child.call("probe", path=video)
    killer.wait()
    assert caught.value.code == "cpu_limit"


def test_the_kernel_ends_what_uses_more_cpu_time_than_it_may():
    code = "from shards.isolation.sandbox import limit_cpu; limit_cpu(0.1)\nwhile True: pass"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == -signal.SIGXCPU


def test_an_unknown_op_is_an_error_that_names_it(child):
    with pytest.raises(MediaError, match="no_such_op") as caught:
        child.call("no_such_op")
    assert caught.value.code == "unexpected_error"


def test_a_child_has_no_network_where_the_kernel_allows_it(child, video):
    child.call("probe", path=video)
    assert child.network in ("none", "host")
    if child.network == "host":
        pytest.skip("this kernel refuses network namespaces")
    devices = Path(f"/proc/{child.pid}/net/dev").read_text()
    assert [line.split(":")[0].strip() for line in devices.splitlines()[2:]] == ["lo"]


def test_a_child_has_bounds_and_sees_none_of_the_workers_environment(child, video, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    child.call("probe", path=video)
    limits = Path(f"/proc/{child.pid}/limits").read_text()
    assert f"{3 << 30}" in next(line for line in limits.splitlines() if line.startswith("Max address space"))
    assert "Max core file size        0 " in limits
    assert b"secret" not in Path(f"/proc/{child.pid}/environ").read_bytes()
    assert os.readlink(f"/proc/{child.pid}/cwd") == str(child.scratch)


def test_a_child_does_not_outlive_its_worker(tmp_path, video):
    code = f"""
import os, sys
from pathlib import Path
from curate.media.child import MediaChild, MediaConfig
child = MediaChild(MediaConfig(), Path({str(tmp_path / "scratch")!r}))
child.call("probe", path={video!r})
print(child.pid, flush=True)
os.kill(os.getpid(), 9)
"""
    worker = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    pid = int(worker.stdout)
    for _ in range(50):
        if not _is_running(pid):
            return
        time.sleep(0.1)
    pytest.fail(f"child {pid} is alive after its worker was killed")


def test_what_libraries_print_does_not_disturb_the_answers(tmp_path):
    code = "import os, json, sys; os.write(1, b'noise'); os.write(2, b'noise')"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).stdout == b"noise"
    with MediaChild(MediaConfig(), tmp_path / "scratch") as child:
        (tmp_path / "a.mp4").write_bytes(b"\0" * 100)
        with pytest.raises(MediaError):
            child.call("probe", path=str(tmp_path / "a.mp4"))
        assert os.readlink(f"/proc/{child.pid}/fd/1") == "/dev/null"
        assert os.readlink(f"/proc/{child.pid}/fd/0") == "/dev/null"


def test_a_full_disk_is_the_stores_fault_and_not_the_files(tmp_path, video):
    with MediaChild(MediaConfig(), tmp_path / "scratch") as child:
        usage = {"cpu_s": 0.0, "start_cpu_s": 0.0, "max_rss_bytes": 0}
        answer = {"error": {"code": "disk_full", "message": "No space left"}, "usage": usage}
        with pytest.raises(StoreError, match="free space and rerun"):
            child._result("scan", answer)


def test_a_child_starts_without_the_heavy_libraries():
    code = "import curate.media.process, json, sys; print(json.dumps(sorted(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"av", "cv2", "numpy", "pydantic", "pyarrow", "torch"} & set(json.loads(out))


def test_the_rules_of_a_process_bound_what_it_opens(tmp_path, video):
    before = open_rules()
    set_open_rules(OpenRules(demuxers=("matroska",)))
    try:
        with pytest.raises(MediaError) as caught, open_video(video):
            pass
        assert caught.value.code == "not_a_video"
    finally:
        set_open_rules(before)


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")")[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False
