"""Losses of an autoencoder: pure functions of tensors."""

from torch import Tensor
from torch.nn import functional


def kl_from_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Mean over values of KL(N(mean, variance) || N(0, 1)) (Kingma and Welling 2014, appendix B)."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()


def hinge_for_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Half the sum of mean(relu(1 - real)) and mean(relu(1 + fake)) (Lim and Ye 2017, eq. 9)."""
    return 0.5 * (functional.relu(1 - real).mean() + functional.relu(1 + fake).mean())


def hinge_for_generator(fake: Tensor) -> Tensor:
    """-mean(fake) (Lim and Ye 2017, eq. 10)."""
    return -fake.mean()


def gradient_ratio(of_reconstruction: Tensor, of_generator: Tensor, largest: float) -> Tensor:
    """Norm of one gradient of the last layer over that of another, clamped (Esser et al. 2021, eq. 7)."""
    return (of_reconstruction.norm() / (of_generator.norm() + 1e-4)).clamp(0.0, largest)
