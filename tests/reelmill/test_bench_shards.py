import pytest

from reelmill.bench.shards import LIMITS, measure


def test_reading_clips_is_measured_against_its_peers():
    pytest.importorskip("webdataset")
    found = measure(num_samples=8, repeats=1)
    assert set(LIMITS) <= set(found.figures)
    assert all(value > 0 for value in (*found.figures.values(), *found.peers.values()))
    video, bare = found.figures["video_cpu_ms_per_sample"], found.peers["bare_decode_cpu_ms_per_sample"]
    assert found.figures["video_vs_bare_decode"] == video / bare
