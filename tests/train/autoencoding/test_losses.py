import pytest
import torch

from train.autoencoding.losses import (
    gradient_ratio,
    hinge_for_discriminator,
    hinge_for_generator,
    kl_from_standard_normal,
)


def test_divergence_of_a_standard_normal_is_zero_and_of_a_shifted_one_half_its_square():
    zero = torch.zeros(3)
    assert kl_from_standard_normal(zero, zero).item() == 0
    assert kl_from_standard_normal(torch.full((3,), 2.0), zero).item() == 2
    wide = kl_from_standard_normal(zero, torch.full((3,), 4.0).log())
    assert wide.item() == pytest.approx(0.5 * (4 - 1 - 1.3862944))


def test_hinge_is_zero_beyond_the_margin():
    assert hinge_for_discriminator(torch.tensor([1.0, 2.0]), torch.tensor([-1.0, -3.0])).item() == 0
    assert hinge_for_discriminator(torch.tensor([0.0]), torch.tensor([0.5])).item() == pytest.approx(0.5 * (1 + 1.5))
    assert hinge_for_generator(torch.tensor([0.5, 1.5])).item() == -1


def test_the_ratio_of_gradients_is_clamped():
    assert gradient_ratio(torch.tensor([3.0, 4.0]), torch.tensor([0.0, 2.0]), 1e4).item() == pytest.approx(
        2.5, rel=1e-3
    )
    assert gradient_ratio(torch.tensor([3.0, 4.0]), torch.zeros(2), 7.0).item() == 7
