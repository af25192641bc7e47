import math

import pytest
import torch

from shards.errors import ConfigError
from tests.train.moving_square import MovingSquares
from train.metrics import read_reports
from train.replay import replay
from train.trainer import fit


def test_a_step_made_again_has_the_loss_and_gradient_that_were_reported(tiny, squares, tmp_path):
    fit(tiny("checkpoint.keep=9"), tmp_path, source=squares)
    for step, from_step in ((1, 0), (4, 2), (5, 4)):
        found, report = replay(tmp_path, step, squares), read_reports(tmp_path)[step - 1]
        assert found.from_step == from_step
        assert sum(clip.loss for clip in found.clips) / 4 == pytest.approx(report.loss, rel=1e-6)
        assert math.hypot(*found.gradient_norms.values()) == pytest.approx(report.gradient_norm, rel=1e-5)
        assert found.is_finite
    with pytest.raises(ConfigError, match="step is 7; one of the 6"):
        replay(tmp_path, 7, squares)


def test_the_clip_that_made_a_step_fail_is_named(tiny, tmp_path):
    class Broken(MovingSquares):
        def batches(self, rank, world_size, position):
            for clips in super().batches(rank, world_size, position):
                if "clip5" in clips.keys:
                    video = clips.video.float()
                    video[clips.keys.index("clip5")] = torch.inf
                    clips.__dict__["video_BTHWC"] = video
                yield clips

    config = tiny("budget.steps=4", "latents.num_batches=1")
    source = Broken()
    assert fit(config, tmp_path, source=source).skipped_steps == 1
    step = next(report.step for report in read_reports(tmp_path) if report.skipped)
    found = replay(tmp_path, step, source)
    assert [clip.key for clip in found.clips if not math.isfinite(clip.loss)] == ["clip5"]
    assert not found.is_finite
