"""Configuration of the training of a video autoencoder."""

from pydantic import Field

from shards.config import Config
from train.autoencoding.discriminator import DiscriminatorConfig
from train.autoencoding.perceptual import EfficientNetConfig, PerceptualConfig


class AdversarialConfig(Config):
    """A patch discriminator beside the reconstruction losses (Esser et al. 2021, eq. 6 and 7)."""

    discriminator: DiscriminatorConfig = Field(default_factory=DiscriminatorConfig, description="The network.")
    start_step: int = Field(default=50_001, ge=0, description="Steps before it begins, for it and for the codec.")
    weight: float = Field(
        default=0.5, gt=0, description="Factor of the loss, after its gradient was scaled to that of the others."
    )
    largest_ratio: float = Field(
        default=1e4, gt=0, description="Upper bound of the ratio of gradients at the last layer."
    )


class AutoencodingConfig(Config):
    """Losses and optimiser of a video autoencoder."""

    steps: int = Field(default=200_000, ge=1, description="Optimiser steps of the stage.")
    learning_rate: float = Field(default=3.6e-5, gt=0, description="Adam's, of codec and discriminator.")
    beta1: float = Field(default=0.5, ge=0, lt=1, description="Adam's decay of the mean.")
    beta2: float = Field(default=0.9, ge=0, lt=1, description="Adam's decay of the square.")
    kl_weight: float = Field(default=0.0, ge=0, description="Weight of the divergence from a standard normal.")
    perceptual: PerceptualConfig = Field(
        default_factory=EfficientNetConfig, description="Whose features pictures are compared by."
    )
    perceptual_weight: float = Field(default=1.0, ge=0, description="Weight of the perceptual distance.")
    adversarial: AdversarialConfig | None = Field(
        default_factory=AdversarialConfig, description="The discriminator; null trains without."
    )
