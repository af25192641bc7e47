"""Against the equations, derived by hand, and against diffusers in float64."""

import math

import pytest
import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler

from shards.config import parse_config
from shards.errors import ConfigError
from train.objectives.objective import ObjectiveConfig, corrupt, frame_losses, predicted_z
from train.objectives.schedules import (
    CosineScheduleConfig,
    FlowScheduleConfig,
    ScaledLinearScheduleConfig,
    alpha_sigma,
    scaled_linear_alpha_bar,
)
from train.objectives.targets import target_of, z_from, z_per_output
from train.objectives.timesteps import TimestepConfig, shifted, training_t
from train.objectives.weights import WeightConfig, loss_weight

SCHEDULES = [FlowScheduleConfig(), CosineScheduleConfig(), ScaledLinearScheduleConfig()]
TARGETS = ["z", "eps", "v", "flow"]


def float64(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_the_flow_schedule_is_a_straight_line():
    alpha, sigma = alpha_sigma(FlowScheduleConfig(), float64(0.0, 0.25, 1.0))
    assert alpha.tolist() == [1.0, 0.75, 0.0]
    assert sigma.tolist() == [0.0, 0.25, 1.0]


@pytest.mark.parametrize("schedule", SCHEDULES[1:], ids=lambda schedule: schedule.kind)
def test_variance_preserving_schedules_preserve_variance(schedule):
    alpha, sigma = alpha_sigma(schedule, torch.linspace(0, 1, 101, dtype=torch.float64))
    assert torch.allclose(alpha**2 + sigma**2, torch.ones(101, dtype=torch.float64), atol=1e-12)
    assert bool((alpha.diff() < 0).all())


def test_the_cosine_schedule_is_balanced_in_the_middle():
    alpha, sigma = alpha_sigma(CosineScheduleConfig(), float64(0.5))
    assert alpha.item() == pytest.approx(sigma.item()) == pytest.approx(math.sqrt(0.5))


def test_scaled_linear_is_the_table_of_diffusers():
    ours = scaled_linear_alpha_bar(ScaledLinearScheduleConfig())
    theirs = DDIMScheduler(beta_start=0.0015, beta_end=0.0155, beta_schedule="scaled_linear").alphas_cumprod
    assert ours[0] == 1
    assert torch.allclose(ours[1:], theirs.double(), rtol=1e-5)


def test_scaled_linear_reads_its_table_at_whole_levels():
    alpha, _ = alpha_sigma(ScaledLinearScheduleConfig(num_steps=10), float64(0.3, 1.0))
    table = scaled_linear_alpha_bar(ScaledLinearScheduleConfig(num_steps=10))
    assert torch.allclose(alpha**2, table[[3, 10]])


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: schedule.kind)
def test_the_clean_latent_comes_back_from_every_target(target, schedule):
    generator = torch.Generator().manual_seed(0)
    z, noise = torch.randn(2, 50, generator=generator, dtype=torch.float64)
    alpha, sigma = alpha_sigma(schedule, torch.linspace(0.02, 0.98, 50, dtype=torch.float64))
    output = target_of(target, z, noise, alpha, sigma)
    assert torch.allclose(z_from(target, output, alpha * z + sigma * noise, alpha, sigma), z, atol=1e-10)


@pytest.mark.parametrize("target", TARGETS)
def test_the_factor_from_output_to_clean_latent_is_its_slope(target):
    alpha, sigma = float64(0.7), float64(0.4)
    x = float64(0.3)
    slope = z_from(target, float64(1.0), x, alpha, sigma) - z_from(target, float64(0.0), x, alpha, sigma)
    assert torch.allclose(slope.abs(), z_per_output(target, alpha, sigma))


def test_weights_are_capped_and_fall_with_noise():
    weight = loss_weight(
        WeightConfig(kind="inverse_square", cap=3.0), "z", 1 - float64(0.1, 0.5, 0.8, 1.0), float64(0.1, 0.5, 0.8, 1.0)
    )
    assert weight.tolist() == pytest.approx([3.0, 3.0, 1 / 0.64, 1.0])


def test_min_snr_on_eps_is_the_rule_of_the_paper():
    alpha, sigma = alpha_sigma(ScaledLinearScheduleConfig(), float64(0.05, 0.3, 0.9))
    snr = (alpha / sigma) ** 2
    weight = loss_weight(WeightConfig(kind="min_snr", cap=5.0), "eps", alpha, sigma)
    assert torch.allclose(weight, snr.clamp(max=5) / snr)


def test_min_snr_on_v_is_the_rule_of_the_paper():
    alpha, sigma = alpha_sigma(CosineScheduleConfig(), float64(0.1, 0.5, 0.9))
    snr = (alpha / sigma) ** 2
    weight = loss_weight(WeightConfig(kind="min_snr", cap=5.0), "v", alpha, sigma)
    assert torch.allclose(weight, snr.clamp(max=5) / (snr + 1))


def test_uniform_weight_is_one():
    assert loss_weight(WeightConfig(kind="uniform"), "v", float64(0.5), float64(0.5)).tolist() == [1.0]


def test_shift_three_moves_the_middle_to_three_quarters():
    assert shifted(float64(0.0, 0.5, 1.0), 3.0).tolist() == [0.0, 0.75, 1.0]


def test_levels_come_from_the_body_or_from_the_tail():
    config = TimestepConfig(shift=3.0, tail_share=0.15, tail_start=0.85)
    t = training_t(config, torch.zeros(2), torch.tensor([0.14, 0.15]), torch.tensor([0.5, 0.5]))
    assert t.tolist() == pytest.approx([0.925, 0.75])


def test_each_frame_is_corrupted_at_its_own_level():
    z, noise = torch.ones(1, 2, 1, 1, 1), torch.full((1, 2, 1, 1, 1), 5.0)
    x = corrupt(ObjectiveConfig(), z, noise, torch.tensor([[0.0, 0.5]])).x_BTCHW
    assert x.flatten().tolist() == [1.0, 3.0]


def test_a_perfect_output_has_loss_zero_and_a_wrong_one_its_weighted_square():
    config = ObjectiveConfig(weight=WeightConfig(kind="inverse_square", cap=3.0))
    z, noise, t = torch.ones(1, 2, 1, 1, 1), torch.zeros(1, 2, 1, 1, 1), torch.tensor([[0.1, 0.8]])
    corrupted = corrupt(config, z, noise, t)
    assert frame_losses(config, z, z, noise, corrupted).tolist() == [[0.0, 0.0]]
    losses = frame_losses(config, z + 2, z, noise, corrupted)
    assert losses[0].tolist() == pytest.approx([4 * 3.0, 4 / 0.64])
    assert torch.equal(predicted_z(config, z, corrupted.x_BTCHW, t), z)


def test_eps_is_refused_where_it_says_nothing():
    with pytest.raises(ConfigError, match="scaled_linear are allowed"):
        parse_config(ObjectiveConfig, {"target": "eps"})
    parse_config(ObjectiveConfig, {"target": "eps", "schedule": {"kind": "scaled_linear"}})
