"""One optimiser step of a video autoencoder and its discriminator on one batch.

Both networks are whole on every rank and their gradients are averaged over ranks, so any number of ranks takes the
step that one would take on the whole batch (GroupNorm everywhere: no clip sees another).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from train.autoencoding.config import AdversarialConfig, AutoencodingConfig
from train.autoencoding.discriminator import Discriminator
from train.autoencoding.losses import (
    gradient_ratio,
    hinge_for_discriminator,
    hinge_for_generator,
    kl_from_standard_normal,
)
from train.autoencoding.perceptual import PerceptualDistance, build_perceptual
from train.models.autoencoder3d import Reconstruction, VideoAutoencoder
from train.parallel import World, mean_over_ranks, sum_over_ranks
from train.precision import Precision, autocast


@dataclass(frozen=True)
class AutoencodingValues:
    """What a step found, means over all ranks.

    Attributes:
        parts: l1, perceptual, kl; with the discriminator also generator, ratio, discriminator.
        skipped: a gradient was not finite, so nothing was changed.
    """

    parts: dict[str, float]
    skipped: bool


class AutoencodingStep:
    """Codec, discriminator, their optimisers and the frozen perceptual network."""

    def __init__(self, config: AutoencodingConfig, codec: VideoAutoencoder, precision: Precision, world: World) -> None:
        self.config, self.codec, self.world = config, codec, world
        self.precision: Precision = precision
        self.perceptual: PerceptualDistance | None = None
        if config.perceptual_weight and (built := build_perceptual(config.perceptual)) is not None:
            self.perceptual = built.to(world.device)
        self.discriminator: Discriminator | None = None
        self.optimizers = {"codec": self._adam(codec)}
        if config.adversarial is not None:
            self.discriminator = Discriminator(config.adversarial.discriminator).to(world.device)
            self.optimizers["discriminator"] = self._adam(self.discriminator)

    def __call__(self, pixels_BTCHW: Tensor, noise_BTCHW: Tensor, step: int) -> AutoencodingValues:
        """One step after `step` finished ones.

        Args:
            pixels_BTCHW: this rank's clips in [-1, 1].
            noise_BTCHW: standard normal, in the shape of the latents.
            step: finished steps.
        """
        with autocast(self.precision, self.world.device):
            made = self.codec(pixels_BTCHW, noise_BTCHW)
        begun = self.config.adversarial is not None and step >= self.config.adversarial.start_step
        parts = self._codec_gradient(pixels_BTCHW, made, begun)
        skipped = not self._update("codec", self.codec.parameters())
        if begun and not skipped and self.discriminator is not None:
            parts["discriminator"] = self._discriminator_gradient(pixels_BTCHW, made.pixels_BTCHW.detach())
            skipped = not self._update("discriminator", self.discriminator.parameters())
        values = mean_over_ranks(torch.stack(list(parts.values())), self.world).tolist()
        return AutoencodingValues(dict(zip(parts, values, strict=True)), skipped)

    def _codec_gradient(self, pixels_BTCHW: Tensor, made: Reconstruction, begun: bool) -> dict[str, Tensor]:
        """Gradients of the codec: each loss goes back to the decoded pixels once, then all of them together."""
        config, decoded = self.config, made.pixels_BTCHW.float()
        parts = {"l1": (decoded - pixels_BTCHW).abs().mean()}
        reconstruction = parts["l1"]
        if self.perceptual is not None:
            with autocast(self.precision, self.world.device):
                parts["perceptual"] = self.perceptual(pixels_BTCHW, decoded).float()
            reconstruction = reconstruction + config.perceptual_weight * parts["perceptual"]
        parts["kl"] = kl_from_standard_normal(made.mean_BTCHW.float(), made.log_variance_BTCHW.float())
        (pull,) = torch.autograd.grad(reconstruction, made.pixels_BTCHW, retain_graph=True)
        if begun and config.adversarial is not None:
            push, parts["generator"] = self._push(made.pixels_BTCHW)
            parts["ratio"] = self._ratio(config.adversarial, made.pixels_BTCHW, pull, push)
            pull = pull + config.adversarial.weight * parts["ratio"] * push
        self.optimizers["codec"].zero_grad(set_to_none=True)
        torch.autograd.backward([made.pixels_BTCHW, config.kl_weight * parts["kl"]], [pull, None])
        return {name: value.detach() for name, value in parts.items()}

    def _push(self, decoded_BTCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient of the generator's loss at the decoded pixels, and the loss."""
        assert self.discriminator is not None
        seen = decoded_BTCHW.detach().requires_grad_()
        with autocast(self.precision, self.world.device):
            loss = hinge_for_generator(self.discriminator(seen).float())
        (push,) = torch.autograd.grad(loss, seen)
        return push, loss.detach()

    def _ratio(self, config: AdversarialConfig, decoded_BTCHW: Tensor, pull: Tensor, push: Tensor) -> Tensor:
        """Adaptive weight from the gradients of the last layer, of the whole batch."""
        last = self.codec.last.conv.weight
        of_last = [
            torch.autograd.grad(decoded_BTCHW, last, gradient, retain_graph=True)[0] for gradient in (pull, push)
        ]
        over_ranks = mean_over_ranks(torch.stack(of_last), self.world)
        return gradient_ratio(over_ranks[0], over_ranks[1], config.largest_ratio)

    def _discriminator_gradient(self, real_BTCHW: Tensor, fake_BTCHW: Tensor) -> Tensor:
        assert self.discriminator is not None
        with autocast(self.precision, self.world.device):
            real, fake = self.discriminator(real_BTCHW), self.discriminator(fake_BTCHW)
        loss = hinge_for_discriminator(real.float(), fake.float())
        self.optimizers["discriminator"].zero_grad(set_to_none=True)
        loss.backward()
        return loss.detach()

    def _update(self, name: str, parameters: Iterable[nn.Parameter]) -> bool:
        """Average gradients over ranks and step; False if one is not finite, on all ranks alike."""
        trained = [parameter for parameter in parameters if parameter.grad is not None]
        for parameter in trained:
            assert parameter.grad is not None
            parameter.grad = sum_over_ranks(parameter.grad, self.world) / self.world.size
        finite = all(bool(torch.isfinite(parameter.grad).all()) for parameter in trained if parameter.grad is not None)
        if finite:
            self.optimizers[name].step()
        return finite

    def _adam(self, network: nn.Module) -> torch.optim.Optimizer:
        betas = (self.config.beta1, self.config.beta2)
        return torch.optim.Adam(network.parameters(), self.config.learning_rate, betas)
