"""What a job is made of, and what is refused before anything is sent; `test_run_ray.py` sends one."""

from pathlib import Path

import pytest
import yaml

from curate.ray_rim.jobs import CurationJob, read_runtime_env
from reelmill.cli import run
from shards.errors import ConfigError


def test_the_entrypoint_is_the_command_itself_quoted():
    job = CurationJob("curate/scan_only", ["/in put"], "/run", ["keep.motion=flow_mag >= 0.1"])
    assert job.entrypoint() == (
        "python -m reelmill curate run curate/scan_only '/in put' --output /run --executor ray "
        "--set 'keep.motion=flow_mag >= 0.1' --set run.ray_address=auto"
    )


def test_a_config_file_goes_by_its_place_in_the_folder_that_is_sent(tmp_path: Path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "mine.yaml").write_text("score_all: true\n")
    job = CurationJob(str(tmp_path / "work" / "mine.yaml"), ["a"], "/run", working_dir=tmp_path / "work")
    job.check()
    assert "curate run mine.yaml a" in job.entrypoint()
    assert job.environment() == {"working_dir": str(tmp_path / "work")}
    (tmp_path / "other.yaml").write_text("score_all: true\n")
    with pytest.raises(ConfigError, match="files below --working-dir"):
        CurationJob(str(tmp_path / "other.yaml"), ["a"], "/run", working_dir=tmp_path / "work").check()


def test_what_cannot_work_there_is_refused_here(tmp_path: Path):
    with pytest.raises(ConfigError, match="an absolute path that every node sees"):
        CurationJob("curate/scan_only", ["a"], "run").check()
    with pytest.raises(ConfigError, match="kep"):
        CurationJob("curate/scan_only", ["a"], "/run", ["kep.motion=null"]).check()
    (tmp_path / "env.yaml").write_text("- pip\n")
    with pytest.raises(ConfigError, match="a mapping is allowed"):
        read_runtime_env(tmp_path / "env.yaml")


def test_no_cluster_at_the_address_ends_with_exit_code_2(capsys: pytest.CaptureFixture[str]):
    words = ["curate", "submit", "curate/scan_only", "/in", "--output", "/run", "--address", "http://127.0.0.1:9"]
    assert run(words) == 2
    assert "error: --address is http://127.0.0.1:9; " in capsys.readouterr().err


def test_a_template_is_printed_with_the_command(capsys: pytest.CaptureFixture[str]):
    words = ["curate", "submit", "curate/scan_only", "/in", "--output", "/run", "--template", "kuberay"]
    assert run([*words, "--cluster", "workers=5"]) == 0
    job = yaml.safe_load(capsys.readouterr().out)
    assert job["spec"]["entrypoint"].startswith("python -m reelmill curate run curate/scan_only /in --output /run")
    assert job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["replicas"] == 5
