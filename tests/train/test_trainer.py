import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from shards.errors import ConfigError, ContractError
from tests.train.moving_square import MovingSquares
from train import checkpoint
from train.data import Clips
from train.metrics import read_reports
from train.tensor_files import read
from train.trainer import fit

# A process that trains and kills itself, as the kernel would, right after some step was reported.
DYING_RUN = """
import os, signal, sys
from pathlib import Path
from shards.config import load_config
from train.config import TrainConfig
from train.trainer import fit
from tests.train.moving_square import MovingSquares

def die(report):
    if report.step == 5:
        os.kill(os.getpid(), signal.SIGKILL)

fit(load_config(TrainConfig, sys.argv[1]), Path(sys.argv[2]), source=MovingSquares(), on_report=die)
"""


def losses(folder: Path) -> list[tuple[int, float | None]]:
    return [(report.step, report.loss) for report in read_reports(folder)]


def test_a_run_writes_config_metrics_and_checkpoints(tiny, squares, tmp_path):
    seen = []
    result = fit(tiny(), tmp_path, source=squares, on_report=seen.append)
    assert result.step == 6
    assert result.checkpoint == tmp_path / "checkpoints" / "step-00000006"
    assert [report.step for report in seen] == [1, 2, 3, 4, 5, 6]
    assert result.loss == pytest.approx(seen[-1].loss)
    assert (tmp_path / "config.yaml").read_text() == tiny().to_yaml()
    assert sorted(path.name for path in result.checkpoint.iterdir()) == [
        "COMMITTED.json", "codec.json", "config.json",
        *(f"shard-00001-model-0000{group}-of-00004.safetensors" for group in range(1, 5)),  # ema, latents, model, optim
        "vocabulary.json",
    ]  # fmt: skip


def test_the_loss_falls(tiny, tmp_path):
    fit(tiny("budget.steps=60", "optim.learning_rate=0.01"), tmp_path, source=MovingSquares())
    values = [loss for _, loss in losses(tmp_path) if loss is not None]
    assert len(values) == 60
    assert sum(values[-10:]) < 0.6 * sum(values[:10])


@pytest.mark.parametrize("beside", [False, True])
def test_a_killed_run_resumes_to_the_same_losses_and_weights(beside, tiny, squares, tmp_path):
    settings = tiny("budget.steps=8", "checkpoint.every_steps=3", f"checkpoint.beside={beside}")
    whole = fit(settings, tmp_path / "whole", source=squares)
    config = tmp_path / "config.yaml"
    config.write_text(settings.to_yaml())
    killed = subprocess.run(
        [sys.executable, "-c", DYING_RUN, str(config), str(tmp_path / "killed")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path.cwd()), *sys.path])},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    found = checkpoint.newest(tmp_path / "killed" / "checkpoints")
    if not beside:  # else the kill may have come before the commit, and the run begins anew
        assert found is not None
        assert found.name == "step-00000003"
    resumed = fit(settings, tmp_path / "killed", source=squares)
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    for name in ("model", "ema", "optim"):
        ours, theirs = (read(result.checkpoint, name) for result in (whole, resumed))
        assert all(torch.equal(ours[key], theirs[key]) for key in ours | theirs)


def test_a_finished_run_does_nothing_more(tiny, squares, tmp_path):
    first = fit(tiny(), tmp_path, source=squares)
    again = fit(tiny(), tmp_path, source=squares)
    assert again.checkpoint == first.checkpoint
    assert (again.step, again.loss) == (6, None)


def test_another_configuration_does_not_continue_a_run(tiny, squares, tmp_path):
    fit(tiny("budget.steps=2"), tmp_path, source=squares)
    with pytest.raises(ConfigError, match="differs from the checkpoint's in optim"):
        fit(tiny("optim.learning_rate=0.5"), tmp_path, source=squares)
    with pytest.raises(ConfigError, match=r"in data\.view"):
        fit(tiny("data.view.start=begin"), tmp_path, source=squares)
    assert fit(tiny("budget.steps=3", "sampler.steps=9", "data.num_workers=5"), tmp_path, source=squares).step == 3


def test_a_budget_of_seconds_ends_the_run(tiny, squares, tmp_path):
    result = fit(tiny("budget.steps=null", "budget.seconds=0.3"), tmp_path, source=squares)
    assert 0.3 <= result.elapsed_s < 30
    assert result.step >= 1
    assert read_reports(tmp_path)[0].progress == 0


def test_a_step_that_is_not_finite_changes_nothing_and_names_its_clips(tiny, squares, tmp_path, caplog):
    exploding = ("optim.learning_rate=1e30", "optim.warmup_steps=0", "optim.decay_share=0", "checkpoint.every_steps=1")
    result = fit(tiny("budget.steps=2", *exploding), tmp_path, source=squares)
    assert result.skipped_steps == 1
    assert read_reports(tmp_path)[1].gradient_norm is None
    assert "step 2 skipped" in caplog.text
    assert "clip" in caplog.text
    first, second = (read(tmp_path / "checkpoints" / f"step-0000000{step}", "model") for step in (1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_clip_without_caption_stops_a_text_model(tiny, tmp_path):
    class Silent(MovingSquares):
        def batches(self, rank, world_size, position):
            for clips in super().batches(rank, world_size, position):
                yield Clips(clips.video_BTHWC, [None] * 4, clips.ids, clips.keys, clips.epoch, clips.position)

    with pytest.raises(ContractError, match="captions are null"):
        fit(tiny(), tmp_path, source=Silent())


def test_a_learned_codec_is_trained_first_and_kept(tiny, squares, tmp_path):
    config = tiny("codec={kind: autoencoder, latent_channels: 4, width: 8, num_blocks: 1, steps: 3}", "budget.steps=2")
    first = fit(config, tmp_path, source=squares).checkpoint
    before = read(first, "codec")
    second = fit(
        config.model_copy(update={"budget": tiny("budget.steps=4").budget}), tmp_path, source=squares
    ).checkpoint
    after = read(second, "codec")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


MOVING = "parameters={kind: patterns, groups: [{pattern: 'trunk.*.time.*'}, {pattern: 'trunk.leave.*', lr_scale: 0.5}]}"


def test_only_chosen_parameters_move(tiny, squares, tmp_path):
    fit(tiny(MOVING, "budget.steps=2"), tmp_path, source=squares)
    fit(tiny(MOVING, "budget.steps=4"), tmp_path, source=squares)
    early, late = (read(tmp_path / "checkpoints" / f"step-0000000{step}", "model") for step in (2, 4))
    moved = {name for name in early if not torch.equal(early[name], late[name])}
    assert moved
    assert all(".time." in name or name.startswith("trunk.leave.") for name in moved)
