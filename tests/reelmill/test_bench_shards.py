"""The bench on a tiny size: every figure is there; whether the limits hold here is not asked."""

import json
import math
import sys
from pathlib import Path

import pytest

import reelmill.bench.shards as bench
from reelmill.bench import peer_venvs
from reelmill.bench.latents import measure_readers, run_script
from reelmill.bench.reader_peers import READERS, Reader, install_readers
from reelmill.bench.shards import FLOORS, LIMITS, Sizes, measure
from reelmill.cli import run

TINY = Sizes(
    num_shards=2, per_shard=40, num_clips=8, large_shards=3, large_per_shard=40, repeats=1, workers=(), cold=False
)


@pytest.mark.timeout(900)  # ten processes, some of which import torch
def test_every_figure_is_measured_and_ratios_are_those_of_their_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("webdataset")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = measure(sizes=TINY)
    assert set(found.limits) == set(LIMITS) - {"vs_best_peer"}
    assert found.floors == FLOORS
    assert set(found.figures) == {*found.limits, *found.floors}
    assert all(math.isfinite(value) and value > 0 for value in found.figures.values())
    ours, other = found.figures["cpu_ms_per_sample"], found.peers["webdataset_cpu_ms_per_sample"]
    assert found.figures["vs_webdataset"] == ours / other
    video, bare = (found.details[f"{name}_cpu_ms_per_clip"] for name in ("video", "bare_decode"))
    assert found.figures["video_vs_bare_decode"] == video / bare
    assert found.details["command_plan_s"] > found.details["command_plan_cpu_s"] * 0.2
    assert 80 * 65_536 / 1e6 < found.details["reelmill_disk_mb"] < 7
    assert list(tmp_path.rglob("*.tar")) == []  # it cleans up behind itself


def test_a_missed_limit_is_told_and_ends_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setitem(bench.LIMITS, "open_s", 1e-9)
    latents = bench._Latents({"cpu_ms_per_sample": 0.1, "vs_webdataset": 0.5}, {}, {}, {})
    monkeypatch.setattr(bench, "_latents", lambda *_: latents)
    monkeypatch.setattr(bench, "clip_figures", lambda *_: {"video_vs_bare_decode": 1.0})
    monkeypatch.setattr(bench, "write_figures", lambda *_: {"write_vs_copy": 0.5})
    monkeypatch.setattr(bench, "make_large", lambda *_: None)
    monkeypatch.setattr(bench, "opening_figures", lambda *_: {"open_s": 1.0, "resume_s": 1.0, "plan_memory_mb": 1.0})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert run(["bench", "shards", "--json"]) == 1
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["verdicts"] == {
        "cpu_ms_per_sample": "ok",
        "vs_webdataset": "ok",
        "video_vs_bare_decode": "ok",
        "open_s": "MISSED",
        "resume_s": "ok",
        "plan_memory_mb": "ok",
        "write_vs_copy": "MISSED",
    }


def test_a_reader_that_loses_samples_has_no_score(tmp_path: Path):
    bench.publish_latents(tmp_path, num_shards=1, per_shard=3)
    told: list[str] = []
    found = measure_readers(tmp_path, [], 4, 1, told.append)
    assert found == {}
    assert told == ["reelmill has no score: 3 samples, 3 different, of 4"]


def test_a_reader_that_cannot_be_installed_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("REELMILL_PEERS", str(tmp_path))
    monkeypatch.setattr("reelmill.bench.reader_peers.READERS", ("litdata",))
    impossible = peer_venvs.Peer("litdata", "litdata", ("no such requirement",), "import litdata")
    monkeypatch.setitem(peer_venvs.PEERS, "litdata", impossible)
    told: list[str] = []
    assert install_readers(told.append) == []
    assert "litdata is not measured: peer litdata: `-m pip install --quiet no such requirement` ended" in told[0]
    assert "\n" not in told[0]


def test_every_reader_has_a_script():
    assert all(Path(Reader(name, "python").script).is_file() for name in ("reelmill", *READERS))


def test_a_bench_without_peers_refuses_the_option(capsys: pytest.CaptureFixture[str]):
    assert run(["bench", "scan", "--peers"]) == 2
    assert (
        "bench is 'scan' with --peers; clips, curate, shards, train have peers; leave --peers out"
        in capsys.readouterr().err
    )


def test_workers_give_the_same_order(tmp_path: Path):
    bench.publish_latents(tmp_path, num_shards=2, per_shard=40)
    ours = Reader("reelmill", sys.executable)
    here, there = (run_script(ours, "read", tmp_path, "--workers", str(number)) for number in (0, 2))
    assert here["order"] == there["order"]
    assert here["num_unique"] == 80
