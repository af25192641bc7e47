import pytest
import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler

from train.objectives.schedules import (
    CosineScheduleConfig,
    FlowScheduleConfig,
    ScaledLinearScheduleConfig,
    alpha_bar_table,
)
from train.sample.ddim import SamplerConfig, ddim, ddim_noise_scale, ddim_step, levels
from train.sample.guidance import classifier_free


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def never() -> torch.Tensor:
    raise AssertionError("a deterministic sampler asks for no noise")


@pytest.mark.parametrize("schedule", [FlowScheduleConfig(), CosineScheduleConfig()], ids=lambda schedule: schedule.kind)
def test_a_denoiser_that_knows_the_answer_is_led_to_it(schedule):
    answer = draw(2, 3, 4, 2, 2, seed=1)
    found = ddim(SamplerConfig(steps=7), schedule, lambda x, t: answer, draw(2, 3, 4, 2, 2), never)
    assert torch.allclose(found, answer, atol=1e-12)


def test_gaussian_data_comes_out_with_its_own_deviation():
    # Data N(0, 0.5^2): E[z | x] = alpha s^2 x / (alpha^2 s^2 + sigma^2), and the exact flow maps noise n to 0.5 n.
    def posterior_mean(x, t):
        t = t[..., None, None, None]
        return (1 - t) * 0.25 * x / ((1 - t) ** 2 * 0.25 + t**2)

    noise = draw(1, 2, 3, 4, 4)
    found = ddim(SamplerConfig(steps=400), FlowScheduleConfig(), posterior_mean, noise, never)
    assert torch.allclose(found, 0.5 * noise, atol=0.01)


def test_ddim_on_the_straight_line_is_eulers_step():
    x, z = draw(5), draw(5, seed=1)
    euler = x + (0.4 - 0.7) * (x - z) / 0.7
    assert torch.allclose(ddim_step(FlowScheduleConfig(), x, z, (0.7, 0.4), 0.0, x), euler, atol=1e-12)


def test_fifty_steps_are_those_of_diffusers():
    """Same table in float64, eps network: our steps at t = (k + 1) / 1000 against their integer levels."""
    schedule = ScaledLinearScheduleConfig()
    theirs = DDIMScheduler(
        beta_start=0.0015, beta_end=0.0155, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=True
    )
    table = alpha_bar_table(schedule)
    theirs.alphas_cumprod = table[1:]
    theirs.final_alpha_cumprod = table[0]
    theirs.set_timesteps(50)
    ours = reference = draw(1, 2, 3, 4, 4)
    for level in theirs.timesteps.tolist():
        eps = torch.tanh(reference)
        reference = theirs.step(eps, level, reference, return_dict=False)[0]
        alpha_bar = table[level + 1]
        z = (ours - (1 - alpha_bar).sqrt() * torch.tanh(ours)) / alpha_bar.sqrt()
        before = max(level + 1 - 20, 0)
        ours = ddim_step(schedule, ours, z, ((level + 1) / 1000, before / 1000), 0.0, ours)
    assert torch.allclose(ours, reference, atol=1e-9)


def test_ancestral_noise_is_the_posterior_deviation_of_ddpm():
    schedule = ScaledLinearScheduleConfig()
    table = alpha_bar_table(schedule)
    beta = 1 - table[500] / table[499]
    posterior = (1 - table[499]) / (1 - table[500]) * beta
    assert ddim_noise_scale(schedule, 0.5, 0.499) == pytest.approx(float(posterior.sqrt()), rel=1e-9)


def test_eta_asks_for_fresh_noise_but_not_in_the_last_step():
    calls = []

    def fresh() -> torch.Tensor:
        calls.append(1)
        return draw(1, 1, 1, 1, 1, seed=len(calls))

    answer = torch.zeros(1, 1, 1, 1, 1, dtype=torch.float64)
    ddim(SamplerConfig(steps=4, eta=1.0), CosineScheduleConfig(), lambda x, t: answer, answer + 1, fresh)
    assert len(calls) == 3


def test_levels_run_from_noise_to_data():
    assert levels(SamplerConfig(steps=4)) == [1.0, 0.75, 0.5, 0.25, 0.0]
    assert levels(SamplerConfig(steps=2, shift=3.0)) == [1.0, 0.75, 0.0]


def test_guidance_extrapolates_from_no_text_to_text():
    def network(x, t, words):
        return words[:, :1, None, None, None].expand_as(x).double()  # text 2 says 2, no text says 0

    x, t, words = draw(1, 1, 1, 1, 1), torch.ones(1, 1), torch.full((1, 3), 2)
    assert classifier_free(network, words, 3.0)(x, t).item() == 6.0
    assert classifier_free(network, words, 1.0)(x, t).item() == 2.0
    assert classifier_free(network, words, 0.0)(x, t).item() == 0.0
