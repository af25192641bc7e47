"""Two ranks must train what one rank trains."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from train.metrics import read_reports
from train.parallel import World, full, like, mean_over_ranks, shard
from train.trainer import fit

WORKER = """
import sys
from pathlib import Path
from shards.config import load_config
from tests.train.moving_square import MovingSquares
from train.config import TrainConfig
from train.trainer import fit

fit(load_config(TrainConfig, sys.argv[1]), Path(sys.argv[2]), source=MovingSquares())
"""


def torchrun(tmp_path: Path, config: Path, output: Path) -> None:
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", script, config, output],
        env={**os.environ, "PYTHONPATH": str(Path.cwd()), "OMP_NUM_THREADS": "1"},
        check=True,
        timeout=200,
    )


def losses(folder: Path) -> list[float | None]:
    return [report.loss for report in read_reports(folder)]


@pytest.mark.torchrun
def test_two_ranks_lose_what_one_rank_loses_and_each_resumes_the_other(tiny, squares, tmp_path):
    config = tiny("budget.steps=4", "optim.hidden=muon")
    fit(config, tmp_path / "one", source=squares)
    path = tmp_path / "config.yaml"
    path.write_text(config.to_yaml())
    torchrun(tmp_path, path, tmp_path / "two")
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-5)
    more = tiny("budget.steps=6", "optim.hidden=muon")
    fit(more, tmp_path / "two", source=squares)  # two ranks wrote, one goes on
    path.write_text(more.to_yaml())
    torchrun(tmp_path, path, tmp_path / "one")  # one rank wrote, two go on
    assert losses(tmp_path / "two")[4:] == pytest.approx(losses(tmp_path / "one")[4:], rel=1e-4)


def test_one_rank_is_plain_torch():
    world, model = World(torch.device("cpu")), torch.nn.Linear(2, 2)
    assert shard(model, world) is model
    assert type(model.weight) is torch.nn.Parameter
    assert torch.equal(full(model.weight), model.weight)
    assert torch.equal(like(torch.ones(2, 2), model.weight), torch.ones(2, 2))
    assert mean_over_ranks(torch.tensor(3.0), world).item() == 3.0
