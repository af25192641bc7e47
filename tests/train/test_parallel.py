"""Two ranks must train what one rank trains."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from shards.errors import ConfigError
from train.config import TrainConfig
from train.metrics import read_reports
from train.parallel import ParallelConfig, World, full, lay_out, like, mean_over_ranks, mesh_shape
from train.plan import describe_model
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


def torchrun(num_ranks: int, config: TrainConfig, output: Path) -> None:
    script, path = output.with_suffix(".py"), output.with_suffix(".yaml")
    script.write_text(WORKER)
    path.write_text(config.to_yaml())
    subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={num_ranks}"),
            *(str(script), str(path), str(output)),
        ],
        env={**os.environ, "PYTHONPATH": str(Path.cwd()), "OMP_NUM_THREADS": "1"},
        check=True,
        timeout=600,
    )


def losses(folder: Path) -> list[float | None]:
    return [report.loss for report in read_reports(folder)]


@pytest.mark.torchrun
@pytest.mark.timeout(900)
def test_one_two_and_four_ranks_lose_the_same_and_each_resumes_the_other(tiny, squares, tmp_path):
    one, two, four = (tmp_path / name for name in ("one", "two", "four"))
    muon = "{hidden: muon, warmup_steps: 2, decay_share: 0}"  # no decay: then it does not matter when a run was to end
    for steps in (3, 6):
        fit(tiny(f"budget.steps={steps}", f"optim={muon}"), one, source=squares)
    torchrun(2, tiny("budget.steps=3", f"optim={muon}"), two)
    shutil.copytree(two, tmp_path / "two-to-one")
    torchrun(2, tiny("budget.steps=6", f"optim={muon}"), two)  # goes on with as many
    fit(tiny("budget.steps=6", f"optim={muon}"), tmp_path / "two-to-one", source=squares)
    torchrun(4, tiny("budget.steps=3", f"optim={muon}", "parallel.replicas=2"), four)
    torchrun(2, tiny("budget.steps=6", f"optim={muon}"), four)  # four in two replicas wrote, two go on
    for run in (two, tmp_path / "two-to-one", four):
        assert losses(run) == pytest.approx(losses(one), rel=1e-5)
    torchrun(2, tiny("budget.steps=6", f"optim={muon}"), tmp_path / "two-whole")
    assert losses(two) == losses(tmp_path / "two-whole")  # resumed on as many ranks: to the bit


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # of tracing, not of ours
@pytest.mark.parametrize("option", ["recompute=sites", "compile=aot_eager"])
def test_recomputed_and_compiled_sites_lose_the_same(option, tiny, squares, tmp_path):
    fit(tiny("budget.steps=2"), tmp_path / "plain", source=squares)
    fit(tiny("budget.steps=2", f"parallel.{option}"), tmp_path / "other", source=squares)
    assert losses(tmp_path / "other") == pytest.approx(losses(tmp_path / "plain"), rel=1e-5)


def test_the_plan_knows_that_recomputation_keeps_less_and_computes_more(tiny):
    wide = ("data.view.height=64", "data.view.width=64")
    plain, sites = (describe_model(tiny(*wide, f"parallel.recompute={option}"), 10) for option in ("none", "sites"))
    assert sites["memory_activations_mb"] < 0.5 * plain["memory_activations_mb"]
    assert sites["flop_per_step"] == pytest.approx(4 / 3 * plain["flop_per_step"])


def test_replicas_must_divide_the_ranks():
    assert mesh_shape(ParallelConfig(), 4) == {"shard": 4}
    assert mesh_shape(ParallelConfig(replicas=2), 4) == {"replicate": 2, "shard": 2}
    with pytest.raises(ConfigError, match=r"parallel\.replicas is 3 with 4 ranks"):
        mesh_shape(ParallelConfig(replicas=3), 4)


def test_one_rank_is_plain_torch():
    world, model = World(torch.device("cpu")), torch.nn.Linear(2, 2)
    assert lay_out(ParallelConfig(), model, world) is model
    assert type(model.weight) is torch.nn.Parameter
    assert torch.equal(full(model.weight), model.weight)
    assert torch.equal(like(torch.ones(2, 2), model.weight), torch.ones(2, 2))
    assert mean_over_ranks(torch.tensor(3.0), world).item() == 3.0
