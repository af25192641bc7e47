"""Each prior against its own equation by hand, and against the covariance of what it draws."""

import pytest
import torch

from shards.config import parse_config
from shards.errors import ConfigError
from train.breakdown import Breakdown
from train.config import TrainConfig
from train.denoising import DenoisingStep
from train.engine import Engine
from train.objectives.noise import (
    BaseResidualNoiseConfig,
    IndependentNoiseConfig,
    MixedNoiseConfig,
    NoisePriorConfig,
    ProgressiveNoiseConfig,
    correlate,
    covariance,
)
from train.parallel import World
from train.randomness import keyed
from train.sample.generate import load
from train.trainer import fit

PRIORS = [
    IndependentNoiseConfig(),
    MixedNoiseConfig(alpha=1.0),
    ProgressiveNoiseConfig(alpha=2.0),
    BaseResidualNoiseConfig(base_share=0.5),
]


def white(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("prior", PRIORS, ids=lambda prior: prior.kind)
def test_samples_have_the_covariance_that_the_prior_declares(prior: NoisePriorConfig):
    samples_TM = correlate(prior, white(6000, 5, 4, 2, 2)).transpose(0, 1).flatten(1)
    found_TT = samples_TM @ samples_TM.T / samples_TM.shape[1]  # 96,000 draws: deviation about 1 / sqrt(96000) = 0.003
    assert torch.allclose(found_TT, covariance(prior, 5), atol=0.016)


def test_mixed_noise_with_alpha_one_shares_half():
    assert covariance(MixedNoiseConfig(alpha=1.0), 3)[0].tolist() == pytest.approx([1, 0.5, 0.5])


def test_mixed_noise_is_the_papers_sum_of_a_shared_and_an_own_part():
    shared, own_T = white(200_000), white(3, 200_000, seed=1)
    noise_T = (4 / 5) ** 0.5 * shared + (1 / 5) ** 0.5 * own_T  # alpha = 2: N(0, 4/5) and N(0, 1/5)
    declared = covariance(MixedNoiseConfig(alpha=2.0), 3)
    assert torch.allclose(noise_T @ noise_T.T / 200_000, declared, atol=0.012)


def test_progressive_noise_is_the_papers_walk():
    # alpha / sqrt(1 + alpha^2) with alpha = 3/4 is 3/5: neighbours correlate by 0.6, the next by 0.36.
    assert covariance(ProgressiveNoiseConfig(alpha=0.75), 3)[0].tolist() == pytest.approx([1, 0.6, 0.36])
    walk = [white(200_000)]
    for frame in (1, 2):
        walk.append(0.6 * walk[-1] + 0.8 * white(200_000, seed=frame))
    noise_T = torch.stack(walk)
    declared = covariance(ProgressiveNoiseConfig(alpha=0.75), 3)
    assert torch.allclose(noise_T @ noise_T.T / 200_000, declared, atol=0.012)


def test_base_and_residual_meet_in_the_middle_frame():
    # lambda = (1/4, 1, 1/4): frames share sqrt(lambda_i lambda_j).
    found = covariance(BaseResidualNoiseConfig(base_share=0.25), 3).tolist()
    assert found == [[1.0, 0.5, 0.25], [0.5, 1.0, 0.5], [0.25, 0.5, 1.0]]


def test_independent_noise_is_handed_on_untouched():
    noise = white(1, 2, 1, 2, 2)
    assert correlate(IndependentNoiseConfig(), noise) is noise


def test_a_key_of_another_prior_is_refused():
    with pytest.raises(ConfigError, match="alpha is not a known key"):
        parse_config(TrainConfig, {"noise_prior": {"kind": "independent", "alpha": 1.0}})


def test_loss_and_sampler_draw_noise_of_the_prior(tiny, squares, tmp_path):
    """With alpha 99 all frames share nearly all noise, so neighbouring frames are nearly equal; and both are keyed."""
    config = tiny("noise_prior={kind: mixed, alpha: 99}", "budget.steps=1")
    fit(config, tmp_path, source=squares)
    model, world = load(tmp_path), World(torch.device("cpu"))
    step = DenoisingStep(config, Engine(config, model.frozen, world), world, Breakdown(()))
    clips = next(squares.batches(0, 1, None))
    trained = step.example(clips).noise_BTCHW
    starts = [model._noise([keyed(seed, 0, 0, 1) for seed in (3, 4)]) for _ in range(2)]
    for noise_BTCHW in (trained, starts[0]):
        assert noise_BTCHW.std() == pytest.approx(1, abs=0.1)
        assert (noise_BTCHW[:, 0] - noise_BTCHW[:, 1]).std() < 0.02
    assert torch.equal(trained, step.example(clips).noise_BTCHW)
    assert torch.equal(*starts)
