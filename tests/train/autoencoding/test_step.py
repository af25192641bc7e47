import pytest
import torch

from train.autoencoding.config import AutoencodingConfig
from train.autoencoding.losses import hinge_for_generator
from train.autoencoding.step import AutoencodingStep
from train.models.autoencoder3d import VideoAutoencoder, VideoAutoencoderConfig
from train.parallel import World

TRAINING = {
    "steps": 4,
    "learning_rate": 1e-3,
    "perceptual": {"kind": "none"},
    "adversarial": {"discriminator": {"width": 8, "num_layers": 1}, "start_step": 2},
}
CODEC = {"width": 4, "norm_groups": 4, "frames_per_latent": 2, "pixels_per_latent": 2, "training": TRAINING}


def built(**training) -> tuple[AutoencodingStep, VideoAutoencoder]:
    torch.manual_seed(0)
    config = VideoAutoencoderConfig.model_validate({**CODEC, "training": {**TRAINING, **training}})
    codec = VideoAutoencoder(config)
    return AutoencodingStep(config.training, codec, "fp32", World(torch.device("cpu"))), codec


def batch(clips: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.rand(clips, 4, 3, 16, 16, generator=generator) * 2 - 1
    return pixels, torch.randn(clips, 2, 4, 8, 8, generator=generator)


def test_the_discriminator_begins_at_its_step():
    step, _ = built()
    found = [set(step(*batch(), number).parts) for number in range(3)]
    assert found[0] == found[1] == {"l1", "kl"}
    assert found[2] == {"l1", "kl", "generator", "ratio", "discriminator"}


def test_the_reconstruction_gets_better():
    step, _ = built(adversarial=None, learning_rate=1e-2)
    pixels = torch.linspace(-1, 1, 16).expand(2, 4, 3, 16, 16)
    losses = [step(pixels, batch()[1], number).parts["l1"] for number in range(25)]
    assert losses[-1] < 0.5 * losses[0]


def test_the_gradient_is_that_of_the_summed_loss():
    """l1 + kl_weight kl + weight ratio generator, with the ratio held fixed, by plain autograd."""
    step, codec = built(kl_weight=0.1)
    pixels, noise = batch()
    assert step.discriminator is not None
    made = codec(pixels, noise)
    parts = step._codec_gradient(pixels, made, begun=True)
    gathered = {
        name: parameter.grad.clone() for name, parameter in codec.named_parameters() if parameter.grad is not None
    }
    codec.zero_grad()
    made = codec(pixels, noise)
    l1 = (made.pixels_BTCHW - pixels).abs().mean()
    generator = hinge_for_generator(step.discriminator(made.pixels_BTCHW))
    last = codec.last.conv.weight
    of_l1, of_generator = (torch.autograd.grad(loss, last, retain_graph=True)[0] for loss in (l1, generator))
    ratio = of_l1.norm() / (of_generator.norm() + 1e-4)
    assert parts["ratio"].item() == pytest.approx(ratio.item(), rel=1e-4)
    kl = 0.5 * (made.mean_BTCHW**2 + made.log_variance_BTCHW.exp() - 1 - made.log_variance_BTCHW).mean()
    (l1 + 0.1 * kl + 0.5 * ratio * generator).backward()
    for name, parameter in codec.named_parameters():
        assert parameter.grad is not None
        assert torch.allclose(gathered[name], parameter.grad, rtol=1e-3, atol=1e-6), name


def test_only_the_discriminator_learns_from_its_own_loss():
    step, codec = built()
    pixels, noise = batch()
    assert step.discriminator is not None
    before = [parameter.clone() for parameter in step.discriminator.parameters()]
    step._codec_gradient(pixels, codec(pixels, noise), begun=True)
    assert all(parameter.grad is None for parameter in step.discriminator.parameters())
    step(pixels, noise, 2)
    assert any(not torch.equal(old, new) for old, new in zip(before, step.discriminator.parameters(), strict=True))


def test_a_step_that_is_not_finite_changes_nothing():
    step, codec = built()
    pixels, noise = batch()
    before = [parameter.clone() for parameter in codec.parameters()]
    assert step(pixels * float("nan"), noise, 0).skipped
    assert all(torch.equal(old, new) for old, new in zip(before, codec.parameters(), strict=True))


def test_the_published_defaults_are_those_of_lvdm():
    config = AutoencodingConfig()
    assert config.adversarial is not None
    assert (config.adversarial.start_step, config.adversarial.weight, config.kl_weight) == (50_001, 0.5, 0.0)
    assert (config.learning_rate, config.beta1, config.beta2) == (3.6e-5, 0.5, 0.9)
