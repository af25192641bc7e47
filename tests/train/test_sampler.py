"""Steps against what can be derived by hand, and against diffusers' schedulers in float64."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler

from shards.config import parse_config
from shards.errors import ConfigError
from train.config import TrainConfig
from train.objectives.objective import ObjectiveConfig, predicted_z
from train.objectives.schedules import (
    CosineScheduleConfig,
    FlowScheduleConfig,
    ScaledLinearScheduleConfig,
    alpha_bar_table,
)
from train.objectives.weights import UniformWeightConfig
from train.sample.config import DdimConfig, DdpmConfig, EulerConfig
from train.sample.steps import ancestral_scale, ddim_step, levels, run

LVDM = ScaledLinearScheduleConfig()
EPS = ObjectiveConfig(target="eps", schedule=LVDM, weight=UniformWeightConfig())
LVDM_BETAS = {"beta_start": 0.0015, "beta_end": 0.0155, "beta_schedule": "scaled_linear"}


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def never() -> torch.Tensor:
    raise AssertionError("a deterministic sampler asks for no noise")


def eps_network(x: torch.Tensor) -> torch.Tensor:
    return torch.tanh(x) + 0.1 * x.roll(1, -1)


def implied_z(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    alpha_bar = alpha_bar_table(LVDM)[(t[0, 0] * 1000).round().long()]
    return (x - (1 - alpha_bar).sqrt() * eps_network(x)) / alpha_bar.sqrt()


@pytest.mark.parametrize("config", [DdimConfig(steps=7), EulerConfig(steps=7)], ids=lambda config: config.kind)
def test_a_denoiser_that_knows_the_answer_is_led_to_it(config):
    answer = draw(2, 3, 4, 2, 2, seed=1)
    found = run(config, FlowScheduleConfig(), lambda x, t: answer, draw(2, 3, 4, 2, 2), never)
    assert torch.allclose(found, answer, atol=1e-12)


def test_gaussian_data_comes_out_with_its_own_deviation():
    # Data N(0, 0.5^2): E[z | x] = alpha s^2 x / (alpha^2 s^2 + sigma^2), and the exact flow maps noise n to 0.5 n.
    def posterior_mean(x, t):
        t = t[..., None, None, None]
        return (1 - t) * 0.25 * x / ((1 - t) ** 2 * 0.25 + t**2)

    noise = draw(1, 2, 3, 4, 4)
    found = run(DdimConfig(steps=400), FlowScheduleConfig(), posterior_mean, noise, never)
    assert torch.allclose(found, 0.5 * noise, atol=0.01)


def test_ancestral_samples_of_gaussian_data_have_its_deviation():
    def posterior_mean(x, t):
        alpha, sigma = torch.cos(t * torch.pi / 2), torch.sin(t * torch.pi / 2)
        return (alpha * 0.25 / (alpha**2 * 0.25 + sigma**2))[..., None, None, None] * x

    generator = torch.Generator().manual_seed(1)

    def fresh():
        return torch.randn(1, 1, 1, 100, 100, generator=generator, dtype=torch.float64)

    for config in (DdpmConfig(steps=200), DdpmConfig(steps=200, variance="large"), DdimConfig(steps=200, eta=1.0)):
        found = run(config, CosineScheduleConfig(), posterior_mean, fresh(), fresh)
        assert found.std().item() == pytest.approx(0.5, abs=0.015)


def test_ddim_on_the_straight_line_is_eulers_step():
    noise = draw(1, 2, 3, 4, 4)
    ddim, euler = (
        run(kind(steps=9, shift=3.0), FlowScheduleConfig(), lambda x, t: torch.tanh(x), noise, never)
        for kind in (DdimConfig, EulerConfig)
    )
    assert torch.allclose(ddim, euler, atol=1e-12)


@pytest.mark.parametrize("spacing", ["leading", "trailing"])
@pytest.mark.parametrize("first_alpha", [False, True], ids=["ends at data", "ends at the first level"])
def test_fifty_ddim_steps_are_those_of_diffusers(spacing, first_alpha):
    """LVDM samples with leading spacing, offset 1, and ends at its first level (set_alpha_to_one=False)."""
    offset = int(spacing == "leading")
    theirs = DDIMScheduler(
        **LVDM_BETAS,
        clip_sample=False,
        set_alpha_to_one=not first_alpha,
        steps_offset=offset,
        timestep_spacing=spacing,
    )
    table = alpha_bar_table(LVDM)
    theirs.alphas_cumprod, theirs.final_alpha_cumprod = table[1:], table[int(first_alpha)]
    theirs.set_timesteps(50)
    reference = noise = draw(1, 2, 3, 4, 4)
    for level in theirs.timesteps.tolist():
        reference = theirs.step(eps_network(reference), level, reference, return_dict=False)[0]
    config = DdimConfig(steps=50, spacing=spacing, leading_offset=offset, last_level=int(first_alpha))
    answered = predicted_z(EPS, eps_network(noise), noise, torch.full((1, 2), 0.3, dtype=torch.float64))
    assert torch.allclose(answered, implied_z(noise, torch.full((1, 2), 0.3)), atol=1e-12)  # what `run` is given

    visited = [round(1000 * level) for level in levels(config, LVDM)]
    assert visited[:-1] == [level + 1 for level in theirs.timesteps.tolist()]
    assert (run(config, LVDM, implied_z, noise, never) - reference).abs().max() <= 1e-12


@pytest.mark.parametrize("eta", [0.3, 1.0])
def test_stochastic_ddim_steps_are_those_of_diffusers(eta):
    theirs = DDIMScheduler(**LVDM_BETAS, clip_sample=False, timestep_spacing="trailing")
    table = alpha_bar_table(LVDM)
    theirs.alphas_cumprod, theirs.final_alpha_cumprod = table[1:], table[0]
    theirs.set_timesteps(20)
    reference = noise = draw(1, 2, 3, 4, 4)
    for step, level in enumerate(theirs.timesteps.tolist()):
        fresh = draw(1, 2, 3, 4, 4, seed=step + 1)
        reference = theirs.step(
            eps_network(reference), level, reference, eta=eta, variance_noise=fresh, return_dict=False
        )[0]
    count = iter(range(1, 100))
    found = run(DdimConfig(steps=20, eta=eta), LVDM, implied_z, noise, lambda: draw(1, 2, 3, 4, 4, seed=next(count)))
    assert (found - reference).abs().max() <= 1e-11


@pytest.mark.parametrize(("variance", "name"), [("small", "fixed_small"), ("large", "fixed_large")])
def test_ddpm_steps_are_those_of_diffusers(variance, name):
    theirs = DDPMScheduler(**LVDM_BETAS, clip_sample=False, variance_type=name)  # leading
    theirs.alphas_cumprod = alpha_bar_table(LVDM)[1:]
    theirs.set_timesteps(25)
    theirs_generator, ours_generator = (torch.Generator().manual_seed(3) for _ in range(2))
    reference = noise = draw(1, 2, 3, 4, 4)
    for level in theirs.timesteps.tolist():
        reference = theirs.step(
            eps_network(reference), level, reference, generator=theirs_generator, return_dict=False
        )[0]
    found = run(
        DdpmConfig(steps=25, variance=variance, spacing="leading"),
        LVDM,
        implied_z,
        noise,
        lambda: torch.randn(noise.shape, generator=ours_generator, dtype=torch.float64),
    )
    assert (found - reference).abs().max() <= 1e-11


def test_euler_steps_with_shift_are_those_of_diffusers():
    theirs: Any = FlowMatchEulerDiscreteScheduler(shift=3.0)
    even = torch.linspace(1, 0, 11)[:-1].tolist()
    theirs.set_timesteps(sigmas=even)  # it shifts them itself
    config = EulerConfig(steps=10, shift=3.0)
    assert levels(config, FlowScheduleConfig()) == pytest.approx(theirs.sigmas.tolist(), abs=1e-6)
    reference = noise = draw(1, 2, 3, 4, 4).float()
    for t in theirs.timesteps:
        reference = theirs.step(eps_network(reference), t, reference, return_dict=False)[0]

    def implied(x, t):  # z = x - t v
        return x - t[..., None, None, None] * eps_network(x)

    found = run(config, FlowScheduleConfig(), implied, noise.double(), never)
    assert (found - reference).abs().max() <= 2e-6


def test_ancestral_noise_is_the_posterior_deviation_of_ddpm():
    table = alpha_bar_table(LVDM)
    beta = 1 - table[500] / table[499]
    posterior = (1 - table[499]) / (1 - table[500]) * beta
    assert ancestral_scale(LVDM, 0.5, 0.499) == pytest.approx(float(posterior.sqrt()), rel=1e-9)


def test_fresh_noise_is_asked_for_but_not_in_the_last_step():
    calls = []

    def fresh() -> torch.Tensor:
        calls.append(1)
        return draw(1, 1, 1, 1, 1, seed=len(calls))

    answer = torch.zeros(1, 1, 1, 1, 1, dtype=torch.float64)
    for config in (DdimConfig(steps=4, eta=1.0), DdpmConfig(steps=4), DdpmConfig(steps=4, variance="large")):
        calls.clear()
        run(config, CosineScheduleConfig(), lambda x, t: answer, answer + 1, fresh)
        assert len(calls) == 3


def test_levels_run_from_noise_to_data():
    assert levels(DdimConfig(steps=4), FlowScheduleConfig()) == [1.0, 0.75, 0.5, 0.25, 0.0]
    assert levels(EulerConfig(steps=2, shift=3.0), FlowScheduleConfig()) == [1.0, 0.75, 0.0]


def test_lvdms_levels_lead_from_the_second():
    config = DdimConfig(steps=50, spacing="leading", leading_offset=1, last_level=1)
    visited = levels(config, LVDM)
    assert [round(1000 * level) for level in (*visited[:2], *visited[-2:])] == [982, 962, 2, 1]
    assert all(before > after for before, after in pairwise(visited))


def test_steps_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="at most 10 levels"):
        levels(DdimConfig(steps=11, spacing="leading"), ScaledLinearScheduleConfig(num_steps=10))
    with pytest.raises(ConfigError, match="last_level is 100"):
        levels(DdimConfig(steps=50, last_level=100), LVDM)
    with pytest.raises(ConfigError, match="no straight line"):
        run(EulerConfig(), CosineScheduleConfig(), lambda x, t: x, draw(1, 1, 1, 1, 1), never)
    with pytest.raises(ConfigError, match="no straight line"):
        parse_config(TrainConfig, {"sampler": {"kind": "euler"}, "objective": {"schedule": {"kind": "cosine"}}})


def test_a_sum_of_scores_must_be_a_score():
    with pytest.raises(ConfigError, match=r"weights that sum to 0\.9"):
        parse_config(DdimConfig, {"guidance": [{"weight": 1.1}, {"weight": -0.2, "drop": ["frames"]}]})


def test_the_mean_of_a_step_leaves_out_what_is_replaced():
    x, z = draw(5), draw(5, seed=1)
    whole, none = (ddim_step(FlowScheduleConfig(), x, z, (0.7, 0.4), replaced) for replaced in (0.0, 0.4))
    assert torch.allclose(none, 0.6 * z, atol=1e-12)
    assert torch.allclose(whole, 0.6 * z + 0.4 * (x - 0.3 * z) / 0.7, atol=1e-12)
