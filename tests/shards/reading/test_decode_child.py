"""Strangers' clips are decoded in a child: the same pixels, and no clip can end the run."""

import itertools
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from shards.errors import ContractError
from shards.plans.plan import PlanConfig, sample_generator
from shards.plans.view import ViewConfig
from shards.reading.batch import loader
from shards.reading.config import ChildLimits, ReadingConfig
from shards.reading.decode import decode_clip, decode_frames, wanted_pts
from shards.reading.decode_child import ClipDecoder, DecodeChild, is_trusted
from shards.reading.reader import open_dataset
from shards.versions.manifest import Manifest

RowOf = Callable[..., dict[str, Any]]
VIEW = ViewConfig(num_frames=4, fps=4, height=12, width=16)


@pytest.fixture(scope="module")
def child():
    return DecodeChild(ChildLimits())


def decode(child: DecodeChild, mp4: bytes, row: dict[str, Any]) -> np.ndarray:
    return child.decode(mp4, wanted_pts(row, VIEW, None), row, VIEW)


def test_a_child_gives_the_same_pixels_whatever_the_size_of_the_clip(
    child: DecodeChild, mp4: bytes, draw: Callable[..., bytes], row_of: RowOf
):
    pids = set()
    for clip in (mp4, draw(num_frames=40, height=320, width=480, gop=5), mp4):
        row = row_of("a", clip)
        wanted_T = wanted_pts(row, VIEW, sample_generator(0, 0, 7))
        np.testing.assert_array_equal(child.decode(clip, wanted_T, row, VIEW), decode_frames(clip, wanted_T, row, VIEW))
        pids.add(child.pid)
    assert len(pids) == 1


def test_a_clip_that_does_not_decode_is_an_error_and_the_child_stays(child: DecodeChild, mp4: bytes, row_of: RowOf):
    row = row_of("a", mp4)
    whole, pid = decode(child, mp4, row), child.pid
    for bad in (b"#EXTM3U\n/etc/passwd\n", mp4[: len(mp4) // 2]):
        with pytest.raises(ContractError, match=r"clip a does not decode in the child; .*clip a"):
            decode(child, bad, row)
    np.testing.assert_array_equal(decode(child, mp4, row), whole)
    assert child.pid == pid


@pytest.mark.parametrize(("number", "says"), [(signal.SIGSEGV, "SIGSEGV"), (signal.SIGXCPU, "cpu_limit")])
def test_a_clip_that_kills_the_child_is_an_error_and_the_next_one_gets_another(
    child: DecodeChild, mp4: bytes, row_of: RowOf, number: int, says: str
):
    row = row_of("a", mp4)
    whole, pid = decode(child, mp4, row), child.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    while psutil.Process(pid).status() != psutil.STATUS_STOPPED:  # else the signal ends it before the clip comes
        time.sleep(0.01)
    os.kill(pid, number)
    killer = subprocess.Popen(["/bin/sh", "-c", f"sleep 0.2; kill -CONT {pid}"])
    with pytest.raises(ContractError, match=rf"clip a does not decode in the child; .*{says}"):
        decode(child, mp4, row)
    killer.wait()
    np.testing.assert_array_equal(decode(child, mp4, row), whole)


def test_a_clip_that_hangs_is_ended_by_the_deadline(mp4: bytes, row_of: RowOf):
    child, row = DecodeChild(ChildLimits(deadline_s=3)), row_of("a", mp4)
    decode(child, mp4, row)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGSTOP)
    before_s = time.monotonic()
    with pytest.raises(ContractError, match=r"takes too long.*reading\.child"):
        decode(child, mp4, row)
    assert 2.5 < time.monotonic() - before_s < 8


def test_the_child_has_limits_and_no_secrets(
    child: DecodeChild, mp4: bytes, row_of: RowOf, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    decode(child, mp4, row_of("a", mp4))
    limits = Path(f"/proc/{child.pid}/limits").read_text(encoding="ascii")
    assert f"{3 << 30}" in next(line for line in limits.splitlines() if line.startswith("Max address space"))
    assert b"secret" not in Path(f"/proc/{child.pid}/environ").read_bytes()
    with pytest.raises(OSError, match="not permitted"):
        os.ftruncate(child._fd, 1)  # nor can the child do it: the kernel has sealed the memory


@pytest.mark.parametrize(
    ("trust", "of_copy", "of_encode"),
    [("auto", False, True), ("trusted", True, True), ("untrusted", False, False)],
)
def test_auto_trusts_what_curation_encoded(trust: str, of_copy: bool, of_encode: bool):
    reading = ReadingConfig.model_validate({"trust": trust})
    assert is_trusted({"cut_mode": "copy"}, reading) is of_copy
    assert is_trusted({"cut_mode": "encode"}, reading) is of_encode


def test_trusted_clips_start_no_child(mp4: bytes, row_of: RowOf):
    decoder, row = ClipDecoder(ReadingConfig()), row_of("a", mp4)
    np.testing.assert_array_equal(decoder.decode(mp4, row, VIEW, None), decode_clip(mp4, row, VIEW))
    assert decoder._child is None


def test_the_loader_reads_copied_clips_through_a_child_and_ends_it(tmp_path: Path, dataset_of: Callable[..., Manifest]):
    dataset_of(4, cut_mode="copy")
    dataset = open_dataset(tmp_path / "dataset")
    plan, before = dataset.plan(PlanConfig(global_batch=2), VIEW), children()
    trusted = loader(dataset, plan, VIEW, reading=ReadingConfig(trust="trusted"))
    batches = loader(dataset, plan, VIEW)
    for here in itertools.islice(trusted, 2):
        np.testing.assert_array_equal(here.video_BTHWC, next(batches).video_BTHWC)
    assert len(children() - before) == 1
    del batches
    deadline = time.monotonic() + 10
    while children() != before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert children() == before


def children() -> set[int]:
    """Decoding children of this process that run."""
    found = [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
    return {child.pid for child in found if "shards.reading.decode_process" in child.cmdline()}
