"""The files that make a cluster: their structure, their quoting, and one of them run against a real Ray head."""

import os
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from curate.ray_rim.templates import ClusterConfig, render
from shards.config import parse_config
from shards.errors import ConfigError

COMMAND = "python -m reelmill curate run curate/scan_only '/data/in put' --set 'keep.motion=flow_mag >= 0.1'"


def cluster(**values: object) -> ClusterConfig:
    return parse_config(ClusterConfig, values)


def test_a_rayjob_has_the_command_token_authentication_and_the_nodes_asked_for():
    text = render("kuberay", COMMAND, cluster(workers=3, node_cpus=16, node_gpus=2, node_memory="64Gi"))
    job = yaml.safe_load(text)
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert job["spec"]["entrypoint"] == COMMAND
    ray_cluster = job["spec"]["rayClusterSpec"]
    assert ray_cluster["authOptions"] == {"mode": "token"}
    (group,) = ray_cluster["workerGroupSpecs"]
    assert group["replicas"] == group["minReplicas"] == group["maxReplicas"] == 3
    for template in (group["template"], ray_cluster["headGroupSpec"]["template"]):
        (container,) = template["spec"]["containers"]
        assert container["resources"]["limits"] == {"cpu": "16", "memory": "64Gi", "nvidia.com/gpu": 2}
        assert set(container["resources"]["requests"]) == {"cpu", "memory"}
        mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert mounted == {"data": "/data", "shm": "/dev/shm"}
        assert {volume["name"] for volume in template["spec"]["volumes"]} == set(mounted)


def test_a_rayjob_asks_for_no_gpu_unless_told():
    assert "nvidia.com/gpu" not in render("kuberay", COMMAND, cluster())


@pytest.mark.parametrize("values", [{}, {"workers": 0}, {"node_gpus": 4, "workers": 7}])
def test_a_batch_script_is_bash_and_asks_slurm_for_head_and_workers(values: dict[str, int]):
    text = render("slurm", COMMAND, cluster(**values))
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    assert f"#SBATCH --nodes={values.get('workers', 2) + 1}\n" in text
    assert ("--num-gpus=4" in text) == ("#SBATCH --gpus-per-node=4\n" in text) == (values.get("node_gpus") == 4)
    assert COMMAND in text.splitlines()[-1]
    assert "export RAY_AUTH_MODE=token\n" in text


def test_values_cannot_break_out_of_a_template():
    for values in ({"job_name": "a; rm"}, {"image": "a\nb"}, {"node_memory": "1Gi}"}, {"time_limit": "1 # x"}):
        with pytest.raises(ConfigError):
            cluster(**values)
    assert "PATH='/a b/reelmill-token-'" in render("slurm", COMMAND, cluster(token_folder="/a b"))


def test_an_unknown_template_names_those_there_are():
    with pytest.raises(ConfigError, match="--template is pbs; kuberay, slurm are allowed"):
        render("pbs", COMMAND, cluster())


@pytest.mark.slow
@pytest.mark.ray
def test_the_batch_script_starts_a_cluster_runs_the_command_on_it_and_ends_with_its_code(tmp_path: Path):
    """`srun` and `scontrol` are stand-ins for one node; Ray, the token and the command are real."""
    stand_ins = {
        "scontrol": "echo localhost",
        "srun": 'while [[ "$1" == --* ]]; do shift; done\n[ "$1" = hostname ] && echo 127.0.0.1 || exec "$@"',
    }
    for name, body in stand_ins.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    check = (
        "import ray, os; ray.init('auto'); print(os.environ['RAY_AUTH_MODE'], ray.cluster_resources()['CPU']); exit(7)"
    )
    values = cluster(workers=0, node_cpus=2, port=port, token_folder=str(tmp_path))
    command = f"{shlex.quote(sys.executable)} -c {shlex.quote(check)}"
    text = render("slurm", command, values, sys.executable)
    path = f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(
        ["bash"], input=text, text=True, capture_output=True, check=False,
        env=environment | {"PATH": path, "SLURM_JOB_ID": "1", "SLURM_JOB_NODELIST": "localhost"},
    )  # fmt: skip
    assert "token 2.0" in done.stdout, done.stderr
    assert done.returncode == 7
    assert not (tmp_path / "reelmill-token-1").exists()
