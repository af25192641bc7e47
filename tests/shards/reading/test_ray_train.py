"""Ray Train: a TorchTrainer of two workers reads our shards; together they see the batches of one process."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from shards.plans.plan import PlanConfig
from shards.plans.view import ViewConfig
from shards.reading.epoch import EpochBatches
from shards.reading.reader import open_dataset
from shards.versions.manifest import Manifest

VIEW = ViewConfig(num_frames=4, fps=4, height=12, width=16)
PLAN = PlanConfig(global_batch=4, seed=3)
SCRIPT = """
import json, sys
from pathlib import Path

import ray
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer


def train_loop(config):
    import ray.train
    import torch.distributed as dist

    import shards
    from shards.plans.plan import PlanConfig
    from shards.plans.view import ViewConfig
    from shards.reading.batch import loader

    view, plan_config = ViewConfig(**config["view"]), PlanConfig(**config["plan"])
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    dataset = shards.open(config["uri"])
    plan = dataset.plan(plan_config, view)
    batches = loader(dataset, plan, view, rank=rank, world=world, num_workers=1)
    seen = [[batch.keys, int(batch.video_BTHWC.sum())] for batch, _ in zip(batches, range(config["steps"]))]
    everybody = [None] * world
    dist.all_gather_object(everybody, {"rank": rank, "backend": dist.get_backend(), "seen": seen})
    if rank == 0:
        Path(config["answer"]).write_text(json.dumps(everybody))
    ray.train.report({"steps": len(seen)})


if __name__ == "__main__":
    config = json.loads(sys.argv[1])
    ray.init(num_cpus=3, include_dashboard=False, logging_level="error", log_to_driver=False)
    TorchTrainer(
        train_loop,
        train_loop_config=config,
        torch_config=TorchConfig(backend="gloo"),
        scaling_config=ScalingConfig(num_workers=2),
        run_config=RunConfig(storage_path=config["storage"], name="run"),
    ).fit()
"""


@pytest.mark.ray
@pytest.mark.slow
def test_two_workers_of_ray_train_see_the_batches_of_one_process(tmp_path: Path, dataset_of: Callable[..., Manifest]):
    dataset_of(13)
    dataset = open_dataset(tmp_path / "dataset")
    alone = EpochBatches(dataset, dataset.plan(PLAN, VIEW), VIEW)
    config = {
        "uri": dataset.store.uri,
        "view": VIEW.resolved(),
        "plan": PLAN.resolved(),
        "steps": len(alone),
        "answer": str(tmp_path / "answer.json"),
        "storage": str(tmp_path / "ray"),
    }
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3]), "RAY_TRAIN_V2_ENABLED": "1"}
    command = [sys.executable, str(script), json.dumps(config)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]
    ranks = json.loads((tmp_path / "answer.json").read_text())
    assert [(answer["rank"], answer["backend"]) for answer in ranks] == [(0, "gloo"), (1, "gloo")]
    for step in range(len(alone)):
        whole = alone[step]
        for answer in ranks:
            part = slice(answer["rank"], None, 2)
            assert answer["seen"][step] == [whole.keys[part], int(whole.video_BTHWC[part].sum())]
