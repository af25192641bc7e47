"""How much of the machine a step uses: operations per second against a large matrix product here, and memory."""

import time
from typing import TypedDict

import psutil
import torch

from train.config import TrainConfig
from train.parallel import World
from train.plan import step_flop
from train.precision import Precision, autocast

_SIDE = {"cpu": 1024, "cuda": 8192}


class Speed(TypedDict):
    """The part of a StepReport that says how fast a step was."""

    clips_per_s: float
    latents_per_s: float
    mfu: float | None
    memory_mb: float


class Speedometer:
    """Knows what a step of a run computes and, if MFU is asked for, what this machine can compute."""

    def __init__(self, config: TrainConfig, world: World, vocabulary_size: int) -> None:
        self._device = world.device
        self._flop, self._flop_per_s = 0, 0.0
        one_shape = config.data.plan.bucket_by != "tokens" and len(config.data.shapes()) == 1
        if config.metrics.mfu and one_shape and world.is_first:  # else each step has operations of its own
            self._flop = step_flop(config, vocabulary_size)
            self._flop_per_s = matmul_flop_per_s(world.device, config.precision) * world.size

    def of(self, step_s: float, num_clips: int, num_frames: int) -> Speed:
        """Rates of a step.

        Args:
            step_s: seconds of the step.
            num_clips: clips of all ranks.
            num_frames: latent frames of each.
        """
        return {
            "clips_per_s": num_clips / step_s,
            "latents_per_s": num_clips * num_frames / step_s,
            "mfu": self._flop / step_s / self._flop_per_s if self._flop_per_s else None,
            "memory_mb": memory_mb(self._device),
        }


def matmul_flop_per_s(device: torch.device, precision: Precision) -> float:
    """Operations per second of a large matrix product in the run's precision: the rate that MFU is a share of.

    Args:
        device: of this process.
        precision: of the network.
    """
    side = _SIDE.get(device.type, 1024)
    a, b = (torch.randn(side, side, device=device) for _ in range(2))
    seconds = []
    with autocast(precision, device), torch.no_grad():
        for _ in range(4):  # the first one warms up
            begin_s = time.perf_counter()
            (a @ b).sum().item()  # waits for the device
            seconds.append(time.perf_counter() - begin_s)
    return 2 * side**3 / min(seconds[1:])


def memory_mb(device: torch.device) -> float:
    """Peak memory of the device since the last call, or the resident memory of this process on a CPU; 1e6 bytes."""
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        return peak / 1e6
    return psutil.Process().memory_info().rss / 1e6
