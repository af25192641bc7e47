"""One step of a run made again on one process, to see which clip or which part of the network it failed on."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from shards.config import load_config
from shards.errors import ConfigError
from train import checkpoint
from train.breakdown import Breakdown
from train.config import TrainConfig
from train.data import Clips, ClipSource, ShardSource
from train.denoising import DenoisingStep
from train.engine import Engine, load_frozen
from train.metrics import read_reports
from train.parallel import World
from train.prepare import prepare
from train.run_torchrun import pick_device


@dataclass(frozen=True)
class ReplayedClip:
    """One clip of the step.

    Attributes:
        key: name of the sample.
        level: noise level of its first frame.
        loss: may be inf or nan.
    """

    key: str
    level: float
    loss: float


@dataclass(frozen=True)
class Replay:
    """A step as it was, without its update.

    Attributes:
        step: number of the step.
        from_step: steps that the checkpoint had, from which the ones between were made again.
        clips: in the order of the global batch.
        gradient_norms: by part of the network (first two parts of parameter names), before clipping.
    """

    step: int
    from_step: int
    clips: list[ReplayedClip]
    gradient_norms: dict[str, float]

    @property
    def is_finite(self) -> bool:
        """Whether losses and gradients are all finite."""
        return all(math.isfinite(value) for value in (*(c.loss for c in self.clips), *self.gradient_norms.values()))


def replay(run: Path, step: int, source: ClipSource | None = None) -> Replay:
    """Make a step again from the newest checkpoint before it; nothing is written.

    A run of several ranks is made again to rounding, one of one rank to the bit.

    Args:
        run: run folder.
        step: number of the step, from 1, one that the run has reported.
        source: clips; default: the shards that the run's config names.

    Raises:
        ConfigError: the run has not made this step.
    """
    config = load_config(TrainConfig, str(run / "config.yaml"))
    rates = {report.step: report.learning_rate for report in read_reports(run)}
    if step not in rates:
        raise ConfigError(f"step is {step}; one of the {len(rates)} in {run / 'metrics.jsonl'} is allowed; change it")
    world = World(torch.device(pick_device(config.device)))
    source = source or ShardSource(config.data)
    method, done, batches = _state_before(config, run, step, source, world)
    for number in range(done + 1, step):
        method(next(batches), number - 1, rates[number])
    return _look(method, next(batches), step, done)


def _state_before(config: TrainConfig, run: Path, step: int, source: ClipSource, world: World):
    folder = checkpoint.newest_before(run / "checkpoints", step)
    if folder is None:
        frozen, batches = prepare(config, source, world, run)
        engine, done = Engine(config, frozen, world), 0
    else:
        engine = Engine(config, load_frozen(config, folder, world.device), world)
        engine.load(folder)
        record = checkpoint.read_record(folder)
        done, batches = record["step"], source.batches(0, 1, record["position"])
    return DenoisingStep(config, engine, world, Breakdown(())), done, batches


def _look(method: DenoisingStep, clips: Clips, step: int, done: int) -> Replay:
    example = method.example(clips)
    losses_B, _ = method.losses(example)
    method.engine.network.zero_grad()
    losses_B.mean().backward()
    found = [
        ReplayedClip(key, float(level_T[0]), float(loss))
        for key, level_T, loss in zip(clips.keys, example.t_BT, losses_B.detach(), strict=True)
    ]
    return Replay(step, done, found, _norms(method.engine.parameters))


def _norms(parameters: Mapping[str, Tensor]) -> dict[str, float]:
    squares: dict[str, Tensor] = {}
    for name, parameter in parameters.items():
        if parameter.grad is not None:
            part = ".".join(name.split(".")[:2])
            squares[part] = squares.get(part, torch.zeros(())) + parameter.grad.float().square().sum().cpu()
    return {part: float(square.sqrt()) for part, square in squares.items()}
