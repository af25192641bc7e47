"""How much of the machine a step uses: operations per second against a large matrix product here, and memory."""

import time

import psutil
import torch

from train.precision import Precision, autocast

_SIDE = {"cpu": 1024, "cuda": 8192}


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
