"""The parts of `bench curate` that judge: boundaries, exact clips, lost seconds, which peers ran, what things cost."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from reelmill.bench import curate as bench
from reelmill.bench.curate_checks import MadeClip, boundaries, boundary_f1, is_exact, unaccounted_s
from reelmill.bench.curate_peers import SYSTEMS, counted_frames
from reelmill.bench.curate_ray import DAEMON, RayCost, kind_of
from reelmill.bench.curate_videos import BenchVideo
from reelmill.bench.peer_venvs import PEERS, PeerFailed, install_lines, peer_venv
from reelmill.bench.process_tree import WORK, run_tree
from shards.errors import ConfigError, StoreError
from tests.curate.videos import moving_square, write_video


def test_a_boundary_counts_once_and_only_within_its_tolerance():
    """Of truth 10 and 20, found 10 and 22: one of two hits to the frame, both within two; a double is no hit."""
    truth = {"a": [10, 20]}
    assert boundary_f1({"a": [10, 22]}, truth, 0) == 0.5
    assert boundary_f1({"a": [10, 22]}, truth, 2) == 1.0
    assert boundary_f1({"a": [10, 11]}, truth, 2) == 0.5
    assert boundary_f1({"a": [], "b": [5]}, {"a": []}, 0) == 1.0


def test_boundaries_are_the_starts_of_clips_but_not_of_videos():
    clips = [MadeClip("a", 0, 10, None), MadeClip("a", 10, 20, None), MadeClip("b", 3, 9, None)]
    assert boundaries(clips) == {"a": [10], "b": [3]}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("source") / "a.mp4", moving_square(40, step_px=6))


def test_a_clip_is_exact_with_the_planned_frames_and_no_others(source: Path, tmp_path: Path):
    frames_THWC = moving_square(40, step_px=6)

    def clip(start: int, end: int) -> Path:
        return write_video(tmp_path / f"{start}-{end}.mp4", frames_THWC[start:end])

    assert is_exact(MadeClip("a", 10, 30, clip(10, 30)), source)
    for start, end in ((9, 30), (11, 31), (10, 31)):
        assert not is_exact(MadeClip("a", 10, 30, clip(start, end)), source)
    assert not is_exact(MadeClip("a", 10, 30, None), source)


def test_seconds_without_clip_and_record_are_unaccounted():
    """Of 100 frames at 25 a second 60 lie in a clip: 1.6 s are lost, unless the tool says so."""
    clips = [MadeClip("a", 0, 60, Path("a.mp4")), MadeClip("a", 60, 100, None)]
    assert unaccounted_s({"a": 100}, {"a": 25.0}, clips, []) == pytest.approx(1.6)
    assert unaccounted_s({"a": 100}, {"a": 25.0}, clips, ["a"]) == 0


def test_ffmpeg_reports_and_counters_are_added_up(tmp_path: Path):
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "ffmpeg-1.log").write_text(
        "  Input stream #0:0 (video): 90 packets read (9 bytes); 88 frames decoded; \n"
        "  Output stream #0:0 (video): 80 frames encoded; 80 packets muxed (9 bytes); \n"
        "  Input stream #0:1 (audio): 9 packets read (9 bytes); 9 frames decoded (9 samples); \n"
    )
    (tmp_path / "frames" / "python-7.txt").write_text("12")
    assert counted_frames(tmp_path) == {"decoded": 100, "encoded": 80}


def test_a_tree_is_measured_by_kind_with_all_that_it_starts(tmp_path: Path):
    burn = "import time; end = time.process_time() + 0.6\nwhile time.process_time() < end: pass"
    start = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}, 'gcs' + '_server'])"
    cost = run_tree([sys.executable, "-c", start], tmp_path / "log", kind_of)
    assert cost.cpu_s[DAEMON] >= 0.4
    assert cost.cpu_s[WORK] < 0.4
    assert cost.peak_rss_bytes > 5e6
    with pytest.raises(subprocess.CalledProcessError) as caught:
        run_tree([sys.executable, "-c", "print('last words'); exit(3)"], tmp_path / "log")
    assert "last words" in caught.value.output


def test_daemons_are_told_from_workers():
    assert kind_of("/x/ray/core/src/ray/raylet/raylet --raylet_socket_name=a") == DAEMON
    assert kind_of("/x/ray/core/src/ray/gcs/gcs_server --log_dir=b") == DAEMON
    assert kind_of("ray::MapBatches(partial)") == WORK
    assert kind_of("python -P -m curate.media.process 3 4 {}") == WORK


def test_ray_over_local_is_the_median_of_the_passes():
    cost = RayCost({"ray": [11, 30, 12], "local": [10, 10, 10]}, {}, [], {})
    assert cost.ray_over_local == 1.2


def test_a_peer_that_pins_torch_is_installed_without_it_where_ours_is_shared():
    assert install_lines(PEERS["video2dataset"], False) == [["video2dataset==1.3.0", "pyarrow<18", "setuptools<81"]]
    first, second, third = install_lines(PEERS["video2dataset"], True)
    assert first == ["--no-deps", "video2dataset==1.3.0"]
    assert "--no-deps" in second
    assert third == ["pyarrow<18", "setuptools<81"]
    assert install_lines(PEERS["pyscenedetect"], True) == [["scenedetect==0.7.2"]]
    with pytest.raises(ConfigError, match="peer is 'x'"):
        peer_venv("x")


def test_the_bench_fails_with_the_reasons_if_fewer_than_two_peers_ran(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(name: str) -> None:
        raise PeerFailed(f"peer {name}: no network")

    monkeypatch.setattr("reelmill.bench.curate_peers.peer_venv", refuse)
    monkeypatch.setattr(bench, "bench_videos", lambda *_: [BenchVideo(source, ())])
    monkeypatch.setattr(bench, "measure_ray", lambda *_: RayCost({"ray": [1], "local": [1]}, {}, [], {}))
    monkeypatch.setattr(bench, "SYSTEMS", {name: SYSTEMS[name] for name in ("data_juicer", "video2dataset")})
    with pytest.raises(StoreError, match="ran 0 peers; 2 are needed; data_juicer: peer data_juicer: no network"):
        bench.measure(peers=True)


@pytest.mark.slow
def test_ours_over_a_drawn_video_finds_the_cut_and_loses_nothing(tmp_path: Path):
    """Forty frames and forty of their negative: one cut, two clips."""
    half_THWC = moving_square(40, width=320, height=192)
    video = write_video(tmp_path / "in.mp4", np.concatenate([half_THWC, 255 - half_THWC]))
    rows, failed = bench.run_systems([BenchVideo(video, (40,))], tmp_path, ["reelmill"])
    assert failed == {}
    row = rows["reelmill"]
    assert (row.f1, row.exact, row.num_clips, row.unaccounted_s) == (1.0, 1.0, 2, 0.0)
    assert row.encoded == 0 < row.decoded <= 1.1
