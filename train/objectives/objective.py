"""The objective: corrupt a clean latent, ask the network, weigh its squared error."""

from dataclasses import dataclass

from pydantic import Field, model_validator
from torch import Tensor

from shards.config import Config
from train.objectives.schedules import FlowScheduleConfig, ScheduleConfig, alpha_sigma, ends_in_pure_noise
from train.objectives.targets import Target, target_of, z_from
from train.objectives.timesteps import TimestepConfig
from train.objectives.weights import WeightConfig, loss_weight


class ObjectiveConfig(Config):
    """Target, schedule, levels and weights of the denoising loss."""

    target: Target = Field(default="z", description="What the network predicts.")
    schedule: ScheduleConfig = Field(default_factory=FlowScheduleConfig, description="Noise level to (alpha, sigma).")
    timesteps: TimestepConfig = Field(default_factory=TimestepConfig, description="Which levels are trained how often.")
    weight: WeightConfig = Field(default_factory=WeightConfig, description="Weight of the error by level.")

    @model_validator(mode="after")
    def _eps_needs_data_at_the_end(self) -> "ObjectiveConfig":
        if self.target == "eps" and ends_in_pure_noise(self.schedule):
            raise ValueError(
                f"target is eps with schedule {self.schedule.kind}, pure noise at t = 1, where eps says nothing; "
                "z, v, flow or the schedule scaled_linear are allowed; change one of them"
            )
        return self


@dataclass(frozen=True)
class Corrupted:
    """A corrupted latent and all that made it (scales are broadcast to BTCHW)."""

    x_BTCHW: Tensor
    alpha_BT111: Tensor
    sigma_BT111: Tensor


def corrupt(config: ObjectiveConfig, z_BTCHW: Tensor, noise_BTCHW: Tensor, t_BT: Tensor) -> Corrupted:
    """x = alpha(t) z + sigma(t) n, each frame at its own level."""
    alpha, sigma = scales(config, t_BT)
    return Corrupted(alpha * z_BTCHW + sigma * noise_BTCHW, alpha, sigma)


def scales(config: ObjectiveConfig, t_BT: Tensor) -> tuple[Tensor, Tensor]:
    """Alpha and sigma at t, shaped [B, T, 1, 1, 1]."""
    alpha, sigma = alpha_sigma(config.schedule, t_BT)
    return alpha[..., None, None, None], sigma[..., None, None, None]


def frame_losses(
    config: ObjectiveConfig, output_BTCHW: Tensor, z_BTCHW: Tensor, noise_BTCHW: Tensor, corrupted: Corrupted
) -> Tensor:
    """Weighted mean squared error of each frame, float32 of shape (B, T)."""
    alpha, sigma = corrupted.alpha_BT111, corrupted.sigma_BT111
    error = output_BTCHW.float() - target_of(config.target, z_BTCHW, noise_BTCHW, alpha, sigma)
    weight = loss_weight(config.weight, config.target, alpha, sigma)
    return (weight * error.square()).mean(dim=(2, 3, 4))


def predicted_z(config: ObjectiveConfig, output_BTCHW: Tensor, x_BTCHW: Tensor, t_BT: Tensor) -> Tensor:
    """The clean latent that the network's output implies."""
    alpha, sigma = scales(config, t_BT)
    return z_from(config.target, output_BTCHW.float(), x_BTCHW, alpha, sigma)
