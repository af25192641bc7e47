"""A cluster that we start: a token for everybody, the dashboard on loopback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from curate.config import RunConfig
from curate.ray_rim.connect import connect
from shards.config import parse_config
from shards.errors import ConfigError

START = """
import os, urllib.request, urllib.error
import ray
from curate.config import RunConfig
from curate.ray_rim.connect import alive_nodes, connect

assert connect(RunConfig()) and not connect(RunConfig())
print(os.environ["RAY_AUTH_MODE"], len(alive_nodes()))
url = ray._private.worker._global_node.address_info["webui_url"]
try:
    urllib.request.urlopen(f"http://{url}/api/jobs/")
except urllib.error.HTTPError as refused:
    print(url.split(":")[0], refused.code)
"""


@pytest.mark.slow
@pytest.mark.ray
def test_a_cluster_started_here_wants_a_token_and_shows_itself_on_loopback_only(tmp_path: Path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    own = {"HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    done = subprocess.run(
        [sys.executable, "-c", START], env=environment | own, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["token", "1", "127.0.0.1", "401"], done.stderr
    assert (tmp_path / ".ray" / "auth_token").stat().st_size >= 32


def test_an_address_without_a_cluster_is_a_config_error(monkeypatch: pytest.MonkeyPatch):
    def nobody(**_: object) -> None:
        raise ConnectionError("nobody there")

    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray.init", nobody)
    with pytest.raises(ConfigError, match=r"run\.ray_address is 127\.0\.0\.1:9; nobody there; start a cluster"):
        connect(parse_config(RunConfig, {"ray_address": "127.0.0.1:9"}))
