"""The objective: corrupt a clean latent, ask the network, weigh its error."""

from dataclasses import dataclass
from typing import Literal

from pydantic import Field, model_validator
from torch import Tensor

from shards.config import Config
from train.objectives.schedules import (
    FlowScheduleConfig,
    ScheduleConfig,
    alpha_sigma,
    ends_in_pure_noise,
    preserves_variance,
)
from train.objectives.targets import Target, target_of, z_from
from train.objectives.timesteps import LogitNormalTimestepsConfig, TimestepsConfig
from train.objectives.weights import InverseSquareWeightConfig, WeightConfig, loss_weight


class ObjectiveConfig(Config):
    """Target, schedule, levels, error and weights of the denoising loss."""

    target: Target = Field(default="x0", description="What the network predicts.")
    schedule: ScheduleConfig = Field(default_factory=FlowScheduleConfig, description="Noise level to (alpha, sigma).")
    timesteps: TimestepsConfig = Field(
        default_factory=LogitNormalTimestepsConfig, description="Which levels are trained how often."
    )
    error: Literal["l1", "l2"] = Field(default="l2", description="Absolute or squared difference to the target.")
    weight: WeightConfig = Field(default_factory=InverseSquareWeightConfig, description="Weight of the error by level.")

    @model_validator(mode="after")
    def _eps_needs_data_at_the_end(self) -> "ObjectiveConfig":
        if self.target == "eps" and ends_in_pure_noise(self.schedule):
            raise ValueError(
                f"target is eps with schedule {self.schedule.kind}, pure noise at t = 1, where eps says nothing; x0, "
                "v, flow or the schedules linear and scaled_linear without zero_terminal_snr are allowed; change one"
            )
        return self

    @model_validator(mode="after")
    def _flow_needs_a_line(self) -> "ObjectiveConfig":
        if self.target == "flow" and self.schedule.kind != "flow":
            raise ValueError(
                f"target is flow with schedule {self.schedule.kind}, on whose curve n - z is no velocity; "
                "schedule flow is allowed with it; change one of them (v is the curve's own)"
            )
        return self

    @model_validator(mode="after")
    def _snr_needs_preserved_variance(self) -> "ObjectiveConfig":
        if self.weight.kind == "min_snr" and not preserves_variance(self.schedule):
            raise ValueError(
                f"weight is min_snr with schedule {self.schedule.kind}, but the rule is derived for alpha^2 + "
                "sigma^2 = 1; uniform or inverse_square are allowed, and timesteps place the levels; change one of them"
            )
        return self

    @model_validator(mode="after")
    def _weights_are_of_squares(self) -> "ObjectiveConfig":
        if self.error == "l1" and self.weight.kind != "uniform":
            raise ValueError(
                f"weight is {self.weight.kind} with error l1, but the rule weighs squares; weight uniform is allowed "
                "with l1; change one of them"
            )
        return self


@dataclass(frozen=True)
class Corrupted:
    """A corrupted latent and all that made it (scales broadcast to BTCHW)."""

    x_BTCHW: Tensor
    alpha_BT1HW: Tensor
    sigma_BT1HW: Tensor


def corrupt(config: ObjectiveConfig, z_BTCHW: Tensor, noise_BTCHW: Tensor, t: Tensor) -> Corrupted:
    """x = alpha(t) z + sigma(t) n, each frame (t of shape [B, T]) or place ([B, T, 1, H, W]) at its own level."""
    alpha, sigma = scales(config, t)
    return Corrupted(alpha * z_BTCHW + sigma * noise_BTCHW, alpha, sigma)


def scales(config: ObjectiveConfig, t: Tensor) -> tuple[Tensor, Tensor]:
    """Alpha and sigma at t of shape [B, T] or [B, T, 1, H, W], shaped to broadcast to BTCHW."""
    return alpha_sigma(config.schedule, t[..., None, None, None] if t.ndim == 2 else t)


def errors(
    config: ObjectiveConfig, output_BTCHW: Tensor, z_BTCHW: Tensor, noise_BTCHW: Tensor, corrupted: Corrupted
) -> Tensor:
    """Weighted error of each value of the output, float32 of shape BTCHW."""
    alpha, sigma = corrupted.alpha_BT1HW, corrupted.sigma_BT1HW
    difference = output_BTCHW.float() - target_of(config.target, z_BTCHW, noise_BTCHW, alpha, sigma)
    size = difference.abs() if config.error == "l1" else difference.square()
    return loss_weight(config.weight, config.target, alpha, sigma) * size


def frame_losses(errors_BTCHW: Tensor, counted_BT1HW: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Mean error of each frame over the places that count (1, not 0; default: all).

    Returns:
        losses_BT, 0 where no place of a frame counts; and counted_BT, 1.0 where one does.
    """
    if counted_BT1HW is None:
        losses_BT = errors_BTCHW.mean(dim=(2, 3, 4))
        return losses_BT, losses_BT.detach() * 0 + 1
    places_BT = counted_BT1HW.sum(dim=(2, 3, 4))
    sums_BT = (errors_BTCHW.mean(dim=2, keepdim=True) * counted_BT1HW).sum(dim=(2, 3, 4))
    return sums_BT / places_BT.clamp(min=1), (places_BT > 0).float()


def clip_losses(losses_BT: Tensor, counted_BT: Tensor) -> Tensor:
    """Mean over the frames of each clip that count, shape (B); every clip has one."""
    return (losses_BT * counted_BT).sum(1) / counted_BT.sum(1).clamp(min=1)


def predicted_z(config: ObjectiveConfig, output_BTCHW: Tensor, x_BTCHW: Tensor, t_BT: Tensor) -> Tensor:
    """The clean latent that the network's output implies."""
    alpha, sigma = scales(config, t_BT)
    return z_from(config.target, output_BTCHW.float(), x_BTCHW, alpha, sigma)
