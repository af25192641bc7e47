"""The executor on two nodes: the same bytes as this process gives, whoever is killed, and nothing done twice."""

import hashlib
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import ray

from curate.config import load_curate_config
from curate.pipeline import Pipeline
from curate.run import Curated
from curate.run_ray import pools_of
from reelmill.cli import run
from shards.errors import ConfigError
from tests.curate.ray_cluster import TwoNodes
from tests.curate.tiny_runs import curated, draw

pytestmark = pytest.mark.ray

RUN = {"workers": 2, "part_videos": 1}
PACK = {"samples_per_shard": 2}  # nine clips, five shards
ROOT = Path(__file__).resolve().parents[2]


def on_ray(inputs: Path, output: Path) -> Curated:
    return curated(inputs, output, run={**RUN, "executor": "ray"}, pack=PACK)


def data_files(root: Path) -> dict[str, str]:
    files = sorted(path for path in (root / "dataset").rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="session")
def local_files(nine_videos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("local")
    assert curated(nine_videos, root, run=RUN | {"workers": 1}, pack=PACK).problems == []
    return data_files(root)


def check_whole(result: Curated, local_files: dict[str, str]) -> None:
    """All that the local run has, and nothing else."""
    assert result.problems == []
    assert data_files(result.run_dir.root) == local_files
    assert not (result.run_dir.root / "scratch").exists()


def test_two_nodes_give_the_same_bytes_as_this_process_and_a_rerun_does_nothing(
    nodes: TwoNodes, nine_videos: Path, local_files: dict[str, str], tmp_path: Path
):
    check_whole(on_ray(nine_videos, tmp_path), local_files)
    begun = nodes.begun()
    assert len([what for what, _, _ in begun if what == "scan"]) == 9
    assert len([what for what, _, _ in begun if what == "cut"]) == 9
    assert len({pid for _, _, pid in begun}) >= 2
    nodes.clear()
    check_whole(on_ray(nine_videos, tmp_path), local_files)
    assert nodes.begun() == []


def test_counts_of_a_run_are_on_the_metrics_endpoint(nodes: TwoNodes, nine_videos: Path, tmp_path: Path):
    """Three videos of 50 frames and an empty file; runs before this one added to the same counters."""
    before = exported()
    bad = tmp_path / "in" / "empty.mp4"
    bad.parent.mkdir()
    bad.touch()
    for video in sorted(nine_videos.glob("*.mp4"))[:3]:
        (bad.parent / video.name).symlink_to(video)
    on_ray(bad.parent, tmp_path / "run")
    wanted = {
        'ray_reelmill_items_total{step="scan",done="now"}': 4,
        "ray_reelmill_kept_total{}": 3,
        'ray_reelmill_failed_total{code="empty_file"}': 1,
    }
    found, gained = before, dict.fromkeys(wanted, 0.0)
    deadline = time.monotonic() + 20
    while gained != wanted and time.monotonic() < deadline:
        time.sleep(0.5)
        found = exported()
        gained = {name: found.get(name, 0) - before.get(name, 0) for name in wanted}
    assert gained == wanted
    decoded, skipped = (
        found[name] - before.get(name, 0)
        for name in (f'ray_reelmill_frames_total{{what="{what}_scan"}}' for what in ("decoded", "skipped"))
    )
    assert decoded < 150 <= decoded + skipped  # a coarse pass, and some frames again where a cut may be
    assert found["ray_reelmill_decoded_frames_total{}"] >= decoded
    assert found['ray_reelmill_cpu_seconds_total{step="scan"}'] > 0


def exported() -> dict[str, float]:
    """Our metrics as Prometheus would scrape them, without Ray's own labels."""
    own = ("step", "done", "what", "code")
    found: dict[str, float] = {}
    for node in ray.nodes():
        if not node["Alive"]:
            continue
        with urllib.request.urlopen(f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics") as page:
            lines = [line for line in page.read().decode().splitlines() if line.startswith("ray_reelmill_")]
        for line in lines:
            name, _, rest = line.partition("{")
            labels, _, value = rest.rpartition("} ")
            pairs = dict(pair.split("=", 1) for pair in labels.split(",") if "=" in pair)
            kept = ",".join(f"{label}={pairs[label]}" for label in own if label in pairs)
            key = f"{name}{{{kept}}}"
            found[key] = found.get(key, 0) + float(value)
    return found


def test_a_killed_worker_costs_its_own_part_and_no_other(
    nodes: TwoNodes, nine_videos: Path, local_files: dict[str, str], tmp_path: Path
):
    with nodes.slowly(), nodes.after(3, "scan", lambda pid: os.kill(pid, signal.SIGKILL)) as killed:
        result = on_ray(nine_videos, tmp_path)
    assert len(killed) == 1
    check_whole(result, local_files)
    assert nodes.redone() == 1


def test_a_job_runs_on_the_cluster_and_its_exit_code_is_ours(
    nodes: TwoNodes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """With every clip kept it ends with 0, with a rule that rejects all of them with 1."""
    draw(tmp_path / "in", ["a", "b"])
    (tmp_path / "env.yaml").write_text(f"env_vars: {{PYTHONPATH: {ROOT}}}\n")
    words = ["curate", "submit", "curate/scan_only", str(tmp_path / "in"), "--output", str(tmp_path / "run")]
    words += ["--address", f"http://{nodes.cluster.webui_url}", "--runtime-env", str(tmp_path / "env.yaml")]
    words += ["--python", sys.executable]
    rules = [f"keep.{name}=null" for name in ("motion", "light", "contrast", "sharpness", "borders")]
    sets = [word for rule in [*rules, "scenes.min_clip_s=0.5"] for word in ("--set", rule)]
    assert run([*words, *sets]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("raysubmit_")
    assert f"dataset  {tmp_path / 'run' / 'dataset'} v1" in said.err
    assert run([*words, *sets, "--set", "keep.motion=flow_mag >= 1000"]) == 1
    assert "rule motion (flow_mag >= 1000) rejects all" in capsys.readouterr().err


@pytest.mark.slow
def test_a_worker_killed_at_its_cuts_costs_its_own_shard_and_no_other(
    nodes: TwoNodes, nine_videos: Path, local_files: dict[str, str], tmp_path: Path
):
    with nodes.slowly(), nodes.after(3, "cut", lambda pid: os.kill(pid, signal.SIGKILL)) as killed:
        result = on_ray(nine_videos, tmp_path)
    assert len(killed) == 1
    check_whole(result, local_files)
    assert 1 <= nodes.redone() <= PACK["samples_per_shard"]


@pytest.mark.slow
@pytest.mark.parametrize("what", ["scan", "cut"])
def test_a_lost_node_costs_what_it_had_in_work(
    nodes: TwoNodes, nine_videos: Path, local_files: dict[str, str], tmp_path: Path, what: str
):
    with nodes.slowly(), nodes.after(4, what, lambda pid: nodes.kill_second()) as killed:
        result = on_ray(nine_videos, tmp_path)
    assert len(killed) == 1
    check_whole(result, local_files)
    assert nodes.redone() <= (1 if what == "scan" else PACK["samples_per_shard"])
    nodes.clear()
    check_whole(on_ray(nine_videos, tmp_path), local_files)
    assert nodes.begun() == []


DRIVER = """
import sys
from pathlib import Path
import ray
from tests.curate.ray_cluster import noting
from tests.curate.test_run_ray import on_ray

ray.init(address=sys.argv[1], log_to_driver=False, configure_logging=False, runtime_env=noting(Path(sys.argv[2])))
on_ray(Path(sys.argv[3]), Path(sys.argv[4]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("what", ["scan", "cut"])
def test_a_killed_driver_loses_nothing_that_was_finished(
    nodes: TwoNodes, nine_videos: Path, local_files: dict[str, str], tmp_path: Path, what: str
):
    arguments = [str(nodes.cluster.address), str(nodes.log), str(nine_videos), str(tmp_path)]
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, *arguments], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    with nodes.slowly(), nodes.after(4, what, lambda pid: driver.kill()) as killed:
        assert driver.wait() == -signal.SIGKILL
    assert len(killed) == 1
    check_whole(on_ray(nine_videos, tmp_path), local_files)
    per_item = 1 if what == "scan" else PACK["samples_per_shard"]
    assert nodes.redone() <= 2 * per_item  # two workers, an item each


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_models_in_two_pools_give_the_same_bytes_as_this_process(nodes: TwoNodes, nine_videos: Path, tmp_path: Path):
    from tests.curate.tiny_models import save_tiny_blip2, save_tiny_open_clip

    clip = {"model": {"path": str(save_tiny_open_clip(tmp_path / "clip"))}, "name": "tiny/random", "dim": 32}
    models = {
        "embed": {"clip": clip, "num_frames": 4},
        "caption": {"model": {"path": str(save_tiny_blip2(tmp_path / "blip2"))}, "tile_px": 32, "max_new_tokens": 6},
    }
    spread_run = {
        "workers": 2,
        "part_videos": 3,
        "executor": "ray",
        "model_cpus": 0.5,
        "pools": {"caption": {"cpus": 0.25}},
    }
    local = curated(nine_videos, tmp_path / "local", run={"workers": 1, "part_videos": 3}, **models)
    assert local.problems == []
    spread = curated(nine_videos, tmp_path / "ray", run=spread_run, **models)
    check_whole(spread, data_files(local.run_dir.root))
    assert len(nodes.begun()) == 18


def test_pools_begin_where_the_configuration_names_a_stage():
    def pools(preset: str, *named: str) -> list[list[str]]:
        return pools_of(Pipeline.of(load_curate_config(preset, [f"run.pools.{stage}.gpus=0.5" for stage in named])))

    assert pools("curate/scan_only") == []
    assert pools("curate/web_video") == [["embed", "aesthetic", "caption", "caption_similarity"]]
    assert pools("curate/web_video", "caption") == [["embed", "aesthetic"], ["caption", "caption_similarity"]]
    with pytest.raises(ConfigError, match=r"run\.pools names \['embde'\]; model stages of this run are \['caption'\]"):
        pools("curate/scan_only", "embde")
