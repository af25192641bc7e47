"""From a config to its network."""

from train.conditions.frames import num_maps
from train.conditions.signals import build_signals
from train.config import TrainConfig
from train.models.denoiser import VideoDenoiser
from train.parameters.lora import add_lora
from train.parameters.policy import LoraParametersConfig


def build_network(config: TrainConfig, vocabulary_size: int, latent_TCHW: tuple[int, ...]) -> VideoDenoiser:
    """The denoiser with all its conditions; weights come from the caller's random state."""
    conditions = config.conditions
    network = VideoDenoiser(
        config.trunk,
        config.mixer,
        config.text,
        conditions.text,
        vocabulary_size,
        latent_TCHW,
        signals=build_signals(conditions, config.trunk.modulation_width),
        map_channels=num_maps(conditions.frames, latent_TCHW[1]),
    )
    if isinstance(config.parameters, LoraParametersConfig):
        add_lora(config.parameters, network)
    return network
