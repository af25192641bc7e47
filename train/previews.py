"""Samples that are drawn while a model trains, always of the same prompts and noise, so that progress can be seen."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from train.config import TrainConfig
from train.engine import Engine
from train.parallel import World
from train.sample.generate import TextToVideo

FOLDER = "previews"
_FRAME_MS = 125


class Previews:
    """Draws samples with the averaged weights and writes them as animations; every rank must make the same calls."""

    def __init__(self, config: TrainConfig, engine: Engine, folder: Path, world: World) -> None:
        self._config, self._engine, self._folder, self._world = config, engine, folder / FOLDER, world

    def after(self, step: int) -> None:
        """Draw if it is time to."""
        wanted = self._config.previews
        if not wanted.every_steps or step % wanted.every_steps:
            return
        with averaged(self._engine):
            network: Any = self._engine.network  # sharded or not, it takes what a VideoDenoiser takes
            model = TextToVideo(self._config, network, self._engine.frozen, self._world.device)
            videos_BTHWC = model.generate(wanted.prompts, range(wanted.seed, wanted.seed + len(wanted.prompts)))
        if self._world.is_first:
            for number, video_THWC in enumerate(videos_BTHWC):
                write_animation(video_THWC, self._folder / f"step-{step:08d}" / f"{number:03d}.webp")


@contextmanager
def averaged(engine: Engine) -> Iterator[None]:
    """The network in evaluation mode with its averaged weights, in the block; the trained ones come back after it."""
    trained = {name: value.detach().clone() for name, value in engine.parameters.items()}
    engine.network.eval()
    try:
        _set(engine, engine.ema.averages)
        yield
    finally:
        _set(engine, trained)
        engine.network.train()


@torch.no_grad()
def _set(engine: Engine, values: dict) -> None:
    for name, parameter in engine.parameters.items():
        parameter.copy_(values[name])


def write_animation(video_THWC: np.ndarray, path: Path) -> None:
    """An endless lossless WebP animation."""
    path.parent.mkdir(parents=True, exist_ok=True)
    first, *rest = [Image.fromarray(frame_HWC) for frame_HWC in video_THWC]
    first.save(path, save_all=True, append_images=rest, duration=_FRAME_MS, loop=0, lossless=True)
