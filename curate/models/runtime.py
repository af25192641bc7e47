"""Where and how precisely a model computes: device, number type, threads; the same for every model stage."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from shards.config import Config
from shards.errors import ConfigError

if TYPE_CHECKING:
    import torch


class Runtime(Config):
    """Device, number type and threads of a model."""

    device: str = Field(
        default="auto", description="cpu, cuda, cuda:<n>, or auto: the first CUDA device, else the CPU."
    )
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        default="float32", description="Number type of weights and sums."
    )
    cpu_threads: int = Field(
        default=1,
        ge=1,
        description="Threads of one process on the CPU. Fixed, because sums depend on how they are split.",
    )


def torch_device(runtime: Runtime, key: str) -> "torch.device":
    """The device that a runtime names.

    Raises:
        ConfigError: it is no device, or not on this machine.
    """
    import torch

    name = runtime.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"{key}.device is {runtime.device!r}; cpu, cuda, cuda:<n> or auto is allowed, if it is on this "
            f"machine ({str(error).splitlines()[0]}); change {key}.device"
        ) from error
    return device


def torch_dtype(runtime: Runtime) -> "torch.dtype":
    """The number type that a runtime names."""
    import torch

    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[runtime.dtype]


@contextmanager
def inference(runtime: Runtime) -> Iterator[None]:
    """Forward passes only, on a fixed number of threads; the process's own number is put back afterwards."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(runtime.cpu_threads)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(threads)
