"""The stage of a video autoencoder: resume, ranks, and use by the denoiser behind it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from shards.errors import ConfigError
from tests.train.moving_square import MovingSquares
from train import checkpoint
from train.codec_run import train_video_codec
from train.parallel import World
from train.tensor_files import read
from train.trainer import fit

CODEC = (
    "codec={kind: video_autoencoder, width: 4, norm_groups: 4, frames_per_latent: 2, pixels_per_latent: 4, "
    "training: {steps: 4, learning_rate: 0.001, perceptual: {kind: none}, "
    "adversarial: {start_step: 1, discriminator: {width: 8, num_layers: 1}}}}"
)
ALONE = World(torch.device("cpu"))


WORKER = """
import sys
from pathlib import Path
from shards.config import load_config
from tests.train.moving_square import MovingSquares
from train.codec_run import train_video_codec
from train.config import TrainConfig
from train.run_torchrun import open_world

with open_world("cpu") as world:
    train_video_codec(load_config(TrainConfig, sys.argv[1]), MovingSquares(), world, Path(sys.argv[2]))
"""


class Interrupted(Exception):
    pass


class Stopping(MovingSquares):
    """Clips that run out, as a kill would have it."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def batches(self, rank: int, world_size: int, position):
        for number, clips in enumerate(super().batches(rank, world_size, position)):
            if number == self.after:
                raise Interrupted
            yield clips


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found = checkpoint.newest(folder / "checkpoints")
    assert found is not None
    return {name: value for path in found.glob("*.safetensors") for name, value in load_file(path).items()}


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_killed_stage_ends_with_the_same_bits(tiny, squares, tmp_path):
    config = tiny(CODEC)
    train_video_codec(config, squares, ALONE, tmp_path / "whole")
    with pytest.raises(Interrupted):
        train_video_codec(config, Stopping(after=3), ALONE, tmp_path / "killed")  # a checkpoint lies at step 2
    train_video_codec(config, squares, ALONE, tmp_path / "killed")
    whole, killed = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    assert whole.keys() == killed.keys()
    assert all(torch.equal(whole[name], killed[name]) for name in whole)
    assert {name.split(".")[0] for name in whole} == {"codec", "discriminator", "optim_codec", "optim_discriminator"}
    assert lines(tmp_path / "whole") == lines(tmp_path / "killed")
    assert [line["step"] for line in lines(tmp_path / "whole")] == [1, 2, 3, 4]


def test_a_finished_stage_is_not_trained_again(tiny, squares, tmp_path):
    train_video_codec(tiny(CODEC), squares, ALONE, tmp_path)
    codec, folder = train_video_codec(tiny(CODEC), Stopping(after=0), ALONE, tmp_path)
    assert folder.name == "step-00000004"
    assert torch.equal(codec.last.conv.weight, weights(tmp_path)["codec.last.conv.weight"])


def test_another_codec_in_the_same_folder_is_refused(tiny, squares, tmp_path):
    train_video_codec(tiny(CODEC), squares, ALONE, tmp_path)
    with pytest.raises(ConfigError, match="differs from the codec checkpoint's in codec, seed"):
        train_video_codec(tiny(CODEC.replace("width: 4", "width: 8"), "seed=1"), squares, ALONE, tmp_path)


def test_a_fixed_codec_has_no_such_stage(tiny, squares, tmp_path):
    with pytest.raises(ConfigError, match="video_autoencoder is allowed by method: autoencoding"):
        train_video_codec(tiny(), squares, ALONE, tmp_path)


def test_fit_trains_the_codec_and_then_the_denoiser_on_its_latents(tiny, squares, tmp_path):
    result = fit(tiny(CODEC, "budget.steps=2"), tmp_path, source=squares)
    assert result.step == 2
    frozen = read(result.checkpoint, "codec")
    assert torch.equal(frozen["last.conv.weight"], weights(tmp_path / "codec")["codec.last.conv.weight"])


@pytest.mark.torchrun
def test_two_ranks_lose_what_one_rank_loses(tiny, squares, tmp_path):
    config = tiny(CODEC)
    train_video_codec(config, squares, ALONE, tmp_path / "one")
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    (tmp_path / "worker.py").write_text(WORKER)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    subprocess.run(
        [*command, tmp_path / "worker.py", tmp_path / "config.yaml", tmp_path / "two"],
        env={**os.environ, "PYTHONPATH": str(Path.cwd()), "OMP_NUM_THREADS": "1"},
        check=True,
        timeout=200,
    )
    for one, two in zip(lines(tmp_path / "one"), lines(tmp_path / "two"), strict=True):
        assert two == pytest.approx(one, rel=1e-4)


def test_an_autoencoder_run_serves_the_runs_behind_it(tiny, squares, tmp_path):
    alone = fit(tiny(CODEC, "method=autoencoding"), tmp_path / "codec_run", source=squares)
    assert alone.step == 4
    config = tiny(CODEC, f"codec.weights={tmp_path / 'codec_run'}", "codec.training.steps=99", "budget.steps=1")
    result = fit(config, tmp_path / "model", source=squares)
    assert not (tmp_path / "model" / "codec").exists()  # nothing was trained again
    taken = read(result.checkpoint, "codec")["last.conv.weight"]
    assert torch.equal(taken, weights(tmp_path / "codec_run" / "codec")["codec.last.conv.weight"])
    with pytest.raises(ConfigError, match="differs in latent_channels"):
        fit(config.model_copy(update={"codec": config.codec.model_copy(update={"latent_channels": 5})}),
            tmp_path / "other", source=squares)  # fmt: skip


def test_the_method_needs_a_codec_that_learns(tiny):
    with pytest.raises(ConfigError, match="method is autoencoding with codec transform"):
        tiny("method=autoencoding")
