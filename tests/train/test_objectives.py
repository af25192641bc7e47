"""Against the equations, derived by hand, and against diffusers in float64."""

import math

import pytest
import torch
from diffusers import training_utils
from diffusers.schedulers.scheduling_ddim import DDIMScheduler, rescale_zero_terminal_snr
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

from shards.config import parse_config
from shards.errors import ConfigError
from train.objectives.objective import (
    ObjectiveConfig,
    clip_losses,
    corrupt,
    errors,
    frame_losses,
    predicted_z,
)
from train.objectives.schedules import (
    CosineScheduleConfig,
    FlowScheduleConfig,
    LinearScheduleConfig,
    ScaledLinearScheduleConfig,
    alpha_bar_table,
    alpha_sigma,
)
from train.objectives.targets import Target, target_of, z_from, z_per_output
from train.objectives.timesteps import (
    LogitNormalTimestepsConfig,
    ModeTimestepsConfig,
    UniformTimestepsConfig,
    shifted,
    training_t,
)
from train.objectives.weights import (
    InverseSquareWeightConfig,
    MinSnrWeightConfig,
    UniformWeightConfig,
    loss_weight,
)

SCHEDULES = [
    FlowScheduleConfig(),
    CosineScheduleConfig(),
    CosineScheduleConfig(offset=0.008),
    LinearScheduleConfig(),
    ScaledLinearScheduleConfig(),
    ScaledLinearScheduleConfig(zero_terminal_snr=True),
]
TARGETS: list[Target] = ["x0", "eps", "v", "flow"]
LVDM = {"beta_start": 0.0015, "beta_end": 0.0155, "beta_schedule": "scaled_linear"}


def theirs(schedule: ScaledLinearScheduleConfig) -> DDPMScheduler:
    """Diffusers' scheduler with its float32 table put to float64."""
    scheduler = DDPMScheduler(**LVDM, prediction_type="v_prediction")
    scheduler.alphas_cumprod = alpha_bar_table(schedule)[1:]
    return scheduler


def float64(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_the_flow_schedule_is_a_straight_line():
    alpha, sigma = alpha_sigma(FlowScheduleConfig(), float64(0.0, 0.25, 1.0))
    assert alpha.tolist() == [1.0, 0.75, 0.0]
    assert sigma.tolist() == [0.0, 0.25, 1.0]


@pytest.mark.parametrize("schedule", SCHEDULES[1:], ids=str)
def test_variance_preserving_schedules_preserve_variance(schedule):
    alpha, sigma = alpha_sigma(schedule, torch.linspace(0, 1, 101, dtype=torch.float64))
    assert torch.allclose(alpha**2 + sigma**2, torch.ones(101, dtype=torch.float64), atol=1e-12)
    assert bool((alpha.diff() < 0).all())


def test_the_cosine_schedule_is_balanced_in_the_middle():
    alpha, sigma = alpha_sigma(CosineScheduleConfig(), float64(0.5))
    assert alpha.item() == pytest.approx(sigma.item()) == pytest.approx(math.sqrt(0.5))


@pytest.mark.parametrize(
    ("schedule", "name"), [(LinearScheduleConfig(), "linear"), (ScaledLinearScheduleConfig(), "scaled_linear")]
)
def test_beta_tables_are_those_of_diffusers(schedule, name):
    scheduler = DDIMScheduler(beta_start=schedule.beta_start, beta_end=schedule.beta_end, beta_schedule=name)
    ours = alpha_bar_table(schedule)
    assert ours[0] == 1
    assert torch.allclose(ours[1:], scheduler.alphas_cumprod.double(), rtol=1e-5)  # theirs is float32
    assert torch.allclose(ours[1:], torch.cumprod(1 - scheduler.betas.double(), 0), rtol=3e-6)


def test_lvdms_linear_is_evenly_spaced_in_roots_of_beta():
    table = alpha_bar_table(ScaledLinearScheduleConfig())
    beta = 1 - table[1:] / table[:-1]
    assert beta[[0, -1]].tolist() == pytest.approx([0.0015, 0.0155])
    assert beta.sqrt().diff().std() < 1e-12


def test_the_paper_cosine_schedule_is_that_of_diffusers():
    scheduler = DDIMScheduler(beta_schedule="squaredcos_cap_v2")
    alpha, _ = alpha_sigma(CosineScheduleConfig(offset=0.008), torch.arange(1, 1000, dtype=torch.float64) / 1000)
    assert torch.allclose(alpha**2, scheduler.alphas_cumprod[:-1].double(), rtol=1e-4)  # theirs caps the last beta


def test_zero_terminal_snr_is_the_rescaling_of_diffusers():
    betas = 1 - alpha_bar_table(ScaledLinearScheduleConfig())[1:] / alpha_bar_table(ScaledLinearScheduleConfig())[:-1]
    rescaled = torch.cumprod(1 - rescale_zero_terminal_snr(betas), dim=0)
    ours = alpha_bar_table(ScaledLinearScheduleConfig(zero_terminal_snr=True))
    assert torch.allclose(ours[1:], rescaled, atol=1e-13)
    assert ours[-1] == 0
    assert ours[1] == pytest.approx(1 - 0.0015)  # begins where it began


def test_a_table_is_read_exactly_at_its_levels():
    schedule = ScaledLinearScheduleConfig()
    alpha, _ = alpha_sigma(schedule, torch.arange(1001, dtype=torch.float64) / 1000)
    assert torch.equal(alpha, alpha_bar_table(schedule).sqrt())


def test_v_is_the_velocity_of_diffusers():
    z, noise = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    levels_B = torch.tensor([0, 250, 600, 999])
    reference = theirs(ScaledLinearScheduleConfig()).get_velocity(z, noise, levels_B)  # pyright: ignore[reportArgumentType]
    alpha, sigma = alpha_sigma(ScaledLinearScheduleConfig(), (levels_B[:, None].double() + 1) / 1000)
    assert (target_of("v", z, noise, alpha, sigma) - reference).abs().max() < 1e-12


def test_corruption_is_the_noise_of_diffusers():
    z, noise = torch.randn(2, 2, 3, 1, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    levels_BT = torch.tensor([[0, 250, 600], [999, 3, 50]])
    config = ObjectiveConfig(target="eps", schedule=ScaledLinearScheduleConfig())
    ours = corrupt(config, z, noise, (levels_BT + 1).double() / 1000).x_BTCHW
    reference = theirs(ScaledLinearScheduleConfig()).add_noise(
        z.flatten(0, 1),
        noise.flatten(0, 1),
        levels_BT.flatten(),  # pyright: ignore[reportArgumentType]
    )
    assert (ours.flatten(0, 1) - reference).abs().max() < 1e-12


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
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
    sigma = float64(0.1, 0.5, 0.8, 1.0)
    weight = loss_weight(InverseSquareWeightConfig(cap=3.0), "x0", 1 - sigma, sigma)
    assert weight.tolist() == pytest.approx([3.0, 3.0, 1 / 0.64, 1.0])


@pytest.mark.parametrize(
    ("target", "rule"),
    [
        ("eps", lambda snr: snr.clamp(max=5) / snr),
        ("v", lambda snr: snr.clamp(max=5) / (snr + 1)),
        ("x0", lambda snr: snr.clamp(max=5)),
    ],
)
def test_min_snr_is_the_rule_of_the_paper_on_the_ratio_of_diffusers(target, rule):
    levels = torch.tensor([0, 20, 50, 300, 900])
    snr = training_utils.compute_snr(theirs(ScaledLinearScheduleConfig()), levels).double()  # float32 inside
    alpha, sigma = alpha_sigma(ScaledLinearScheduleConfig(), (levels.double() + 1) / 1000)
    assert torch.allclose((alpha / sigma) ** 2, snr, rtol=1e-6)
    snr = (alpha / sigma) ** 2
    weight = loss_weight(MinSnrWeightConfig(gamma=5.0), target, alpha, sigma)
    assert torch.allclose(weight, rule(snr), rtol=1e-12, atol=0)


def test_uniform_weight_is_one():
    assert loss_weight(UniformWeightConfig(), "v", float64(0.5), float64(0.5)).tolist() == [1.0]


def test_shift_three_moves_the_middle_to_three_quarters():
    assert shifted(float64(0.0, 0.5, 1.0), 3.0).tolist() == [0.0, 0.75, 1.0]


def test_levels_come_from_the_body_or_from_the_tail():
    config = LogitNormalTimestepsConfig(shift=3.0, tail_share=0.15, tail_start=0.85)
    t = training_t(config, torch.zeros(2), torch.tensor([0.14, 0.15]), torch.tensor([0.5, 0.5]))
    assert t.tolist() == pytest.approx([0.925, 0.75])


@pytest.mark.parametrize(
    ("config", "scheme"),
    [
        (LogitNormalTimestepsConfig(mean=0.3, std=0.7, shift=1.0, tail_share=0.0), "logit_normal"),
        (ModeTimestepsConfig(scale=1.29), "mode"),
        (UniformTimestepsConfig(), "none"),
    ],
)
def test_densities_are_those_of_diffusers(config, scheme):
    reference = training_utils.compute_density_for_timestep_sampling(
        scheme, 100, 0.3, 0.7, 1.29, generator=torch.Generator().manual_seed(5)
    )
    normal = torch.normal(0.0, 1.0, (100,), generator=torch.Generator().manual_seed(5))
    uniform = torch.rand(100, generator=torch.Generator().manual_seed(5))
    assert torch.allclose(training_t(config, normal, torch.ones(100), uniform), reference, atol=1e-6)


def test_each_frame_is_corrupted_at_its_own_level():
    z, noise = torch.ones(1, 2, 1, 1, 1), torch.full((1, 2, 1, 1, 1), 5.0)
    x = corrupt(ObjectiveConfig(), z, noise, torch.tensor([[0.0, 0.5]])).x_BTCHW
    assert x.flatten().tolist() == [1.0, 3.0]


def test_each_place_can_have_its_own_level():
    z, noise = torch.ones(1, 1, 1, 1, 2), torch.full((1, 1, 1, 1, 2), 5.0)
    x = corrupt(ObjectiveConfig(), z, noise, torch.tensor([0.25, 0.5]).reshape(1, 1, 1, 1, 2)).x_BTCHW
    assert x.flatten().tolist() == [2.0, 3.0]


def test_a_perfect_output_has_loss_zero_and_a_wrong_one_its_weighted_square():
    config = ObjectiveConfig(weight=InverseSquareWeightConfig(cap=3.0))
    z, noise, t = torch.ones(1, 2, 1, 1, 1), torch.zeros(1, 2, 1, 1, 1), torch.tensor([[0.1, 0.8]])
    corrupted = corrupt(config, z, noise, t)
    assert frame_losses(errors(config, z, z, noise, corrupted))[0].tolist() == [[0.0, 0.0]]
    losses_BT, counted_BT = frame_losses(errors(config, z + 2, z, noise, corrupted))
    assert losses_BT[0].tolist() == pytest.approx([4 * 3.0, 4 / 0.64])
    assert counted_BT.tolist() == [[1.0, 1.0]]
    assert torch.equal(predicted_z(config, z, corrupted.x_BTCHW, t), z)


def test_lvdms_error_is_absolute():
    config = ObjectiveConfig(error="l1", weight=UniformWeightConfig())
    z, t = torch.zeros(1, 1, 1, 1, 2), torch.tensor([[0.5]])
    found = errors(config, torch.tensor([3.0, -1.0]).reshape(z.shape), z, z, corrupt(config, z, z, t))
    assert found.flatten().tolist() == [3.0, 1.0]


def test_places_that_do_not_count_change_no_loss():
    errors_BTCHW = torch.tensor([[1.0, 3.0], [7.0, 9.0], [5.0, 100.0]]).reshape(1, 3, 1, 1, 2)
    counted = torch.tensor([[1.0, 1.0], [0.0, 0.0], [1.0, 0.0]]).reshape(1, 3, 1, 1, 2)
    losses_BT, counted_BT = frame_losses(errors_BTCHW, counted)
    assert losses_BT.tolist() == [[2.0, 0.0, 5.0]]
    assert counted_BT.tolist() == [[1.0, 0.0, 1.0]]
    assert clip_losses(losses_BT, counted_BT).tolist() == [3.5]


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"target": "eps"}, "eps says nothing"),
        ({"target": "eps", "schedule": {"kind": "linear", "zero_terminal_snr": True}}, "eps says nothing"),
        ({"target": "flow", "schedule": {"kind": "cosine"}}, "no velocity"),
        ({"target": "flow", "weight": {"kind": "min_snr"}}, r"derived for alpha\^2"),
        ({"error": "l1"}, "weighs squares"),
    ],
)
def test_what_does_not_fit_together_is_refused_with_the_reason(config, reason):
    with pytest.raises(ConfigError, match=reason):
        parse_config(ObjectiveConfig, config)


def test_what_fits_together_is_taken():
    for schedule in ("linear", "scaled_linear"):
        parse_config(ObjectiveConfig, {"target": "eps", "schedule": {"kind": schedule}})
    parse_config(ObjectiveConfig, {"target": "v", "schedule": {"kind": "linear", "zero_terminal_snr": True}})
