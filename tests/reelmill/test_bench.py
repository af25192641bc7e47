import json
import sys

import pytest

from reelmill import bench
from reelmill.bench import Measurement, run_bench, table
from reelmill.bench.processes import run_command
from shards.errors import ConfigError

FOUND = Measurement("fake", {"a": 1.25, "b": 3.0}, {"a": 1.3, "b": 2.0}, {"peer": 2.0}, {"x": "y"}, {}, {})


def fake() -> Measurement:
    return FOUND


def test_an_unknown_bench_names_the_nearest():
    allowed = "clips, curate, ledger, scan, shards, train are allowed; try scan"
    with pytest.raises(ConfigError, match=f"bench is 'scna'; {allowed}"):
        run_bench("scna", as_json=False)


def test_the_last_line_is_one_json_object(monkeypatch, capsys):
    monkeypatch.setitem(bench.BENCHES, "fake", f"{__name__}:fake")
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])
    run_bench("fake", as_json=True)
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["figures"] == {"a": 1.25, "b": 3.0}
    assert set(last) == {"bench", "figures", "limits", "peers", "details", "machine", "versions", "floors", "verdicts"}
    assert last["verdicts"] == {"a": "ok", "b": "MISSED"}


def test_the_table_says_which_limits_are_met():
    lines = table(FOUND)
    assert [line.split()[-1] for line in lines[1:3]] == ["ok", "MISSED"]


def test_a_command_is_measured_with_all_that_it_starts():
    burn = "import time; end = time.process_time() + 0.5\nwhile time.process_time() < end: pass"
    start = f"import subprocess, sys; data = bytes(1); subprocess.run([sys.executable, '-c', {burn!r}])"
    cost = run_command([sys.executable, "-c", start])
    assert 0.5 <= cost.cpu_s < 2
    assert cost.wall_s >= 0.5
    assert 2e6 < cost.rss_others_bytes < 100e6
