"""The bench of training steps; its numbers are looked at when it runs alone, here only what they are numbers of."""

import pytest
import torch

from reelmill.bench.train import CLIP_CTHW, LIMITS, contenders, measure


def test_a_run_gives_every_network_its_cost():
    pytest.importorskip("diffusers")
    threads = torch.get_num_threads()
    found = measure(rounds=1)
    assert torch.get_num_threads() == threads
    assert set(found.limits) == {"step_vs_diffusers_unet3d"}  # lucidrains is measured with --peers
    assert set(LIMITS) == {"step_vs_diffusers_unet3d", "step_vs_lucidrains_unet3d"}
    assert found.details["ours_as_unet3d_mparameters"] == found.details["diffusers_unet3d_mparameters"]
    ours, theirs = (found.details[f"{name}_gflop"] for name in ("ours_as_unet3d", "diffusers_unet3d"))
    assert ours == pytest.approx(theirs, rel=1e-3)  # the same function
    pace = found.figures["ours_as_unet3d_gflop_s"] / found.peers["diffusers_unet3d_gflop_s"]
    assert found.figures["step_vs_diffusers_unet3d"] == pytest.approx(1 / pace)


def test_every_contender_gives_the_shape_of_the_latent():
    x_BCTHW = torch.randn(1, *CLIP_CTHW)
    for name, contender in contenders(peers=False).items():
        assert contender.ask(x_BCTHW).numel() == x_BCTHW.numel(), name
