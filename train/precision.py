"""In which numbers the network computes. Weights, optimiser, averages and losses are float32 always."""

import time
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

Precision = Literal["auto", "fp32", "bf16"]


def resolve(precision: Precision, device: torch.device) -> Precision:
    """What `auto` means here: bf16 on a GPU that has it; on a CPU the faster of the two, measured in some milliseconds.

    The instruction flags do not tell: with avx512_bf16, one maker's CPUs multiply five times faster than in float32,
    another's half as fast. The answer is stored with the run, so a resumed run computes as it began.
    """
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    found = torch.cpu.get_capabilities()
    if not (found.get("avx512_bf16") or found.get("amx_bf16")):
        return "fp32"
    return "bf16" if _product_s(torch.bfloat16) < 0.7 * _product_s(torch.float32) else "fp32"


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Context in which the network's forward pass runs; `precision` is resolved."""
    return torch.autocast(device.type, dtype=torch.bfloat16) if precision == "bf16" else nullcontext()


def _product_s(dtype: torch.dtype) -> float:
    """Best CPU seconds of a small matrix product."""
    matrix, best_s = torch.ones(512, 512, dtype=dtype), float("inf")
    for _ in range(5):
        begin_s = time.process_time()
        torch.mm(matrix, matrix)
        best_s = min(best_s, time.process_time() - begin_s)
    return best_s
