"""The stage that trains a video autoencoder: the trainer's batches, checkpoints and resume, with its own step."""

import json
import logging
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from shards.errors import ConfigError
from train import checkpoint
from train.autoencoding.perceptual import perceptual_record
from train.autoencoding.step import AutoencodingStep, AutoencodingValues
from train.config import TrainConfig
from train.data import Clips, ClipSource
from train.models.autoencoder3d import VideoAutoencoder, VideoAutoencoderConfig
from train.models.codec import latent_shape, pixels_of
from train.optim import empty_state, optimizer_tensors
from train.parallel import World
from train.randomness import keyed
from train.saver import Saver, newest_for_all
from train.tensor_files import names, read, read_into

log = logging.getLogger(__name__)
_STREAM = 2  # apart from the denoiser's draws


def train_video_codec(
    config: TrainConfig, source: ClipSource, world: World, output: Path
) -> tuple[VideoAutoencoder, Path]:
    """Train until `codec.training.steps`; called again on the same folder, go on from its newest checkpoint.

    Args:
        config: the run; `codec` is a video autoencoder.
        source: clips.
        world: this process among its peers; every rank calls it and ends with the same weights.
        output: folder of the stage: metrics.jsonl, checkpoints/.

    Raises:
        ConfigError: the folder holds a checkpoint of another codec, seed or data view.
    """
    if not isinstance(config.codec, VideoAutoencoderConfig):
        raise ConfigError(f"codec.kind is {config.codec.kind}; video_autoencoder is allowed by method: autoencoding")
    run = _CodecRun(config, config.codec, world, output)
    for clips in run.batches(source):
        run.step_on(clips)
    return run.codec.eval(), run.finish()


def trained_codec(config: VideoAutoencoderConfig) -> VideoAutoencoder:
    """The codec of an earlier stage, `codec.weights`.

    Raises:
        ConfigError: there is no checkpoint, or it is of another codec.
    """
    path = Path(config.weights or "")
    folder = checkpoint.find(path / "codec" if (path / "codec").is_dir() else path)
    saved, now = checkpoint.read_document(folder, "config")["codec"], config.resolved()
    changed = [key for key in now if key not in ("training", "weights") and saved.get(key) != now[key]]
    if changed:
        raise ConfigError(
            f"codec.weights {config.weights} differs in {', '.join(changed)}; the same are allowed; copy its codec"
        )
    codec = VideoAutoencoder(config)
    codec.load_state_dict(read(folder, "codec"))
    return codec.eval()


class _CodecRun:
    def __init__(self, config: TrainConfig, codec: VideoAutoencoderConfig, world: World, output: Path) -> None:
        self.config, self.codec_config, self.world, self.output = config, codec, world, output
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.codec = VideoAutoencoder(codec).to(world.device)
            self.step = AutoencodingStep(codec.training, self.codec, config.precision, world)
        view = config.data.view
        self.latent_TCHW = latent_shape(self.codec, view.num_frames, view.height, view.width)
        self.saver = Saver(config.checkpoint, output / "checkpoints", world)
        self.done, self.saved, self.position = 0, -1, dict[str, Any]()
        self._resume()
        output.mkdir(parents=True, exist_ok=True)
        if world.is_first:
            _keep_lines(output / "metrics.jsonl", self.done)

    def batches(self, source: ClipSource) -> Iterator[Clips]:
        """What is left to see."""
        position = self.position or None
        left = self.codec_config.training.steps - self.done
        return islice(source.batches(self.world.rank, self.world.size, position), max(0, left))

    def step_on(self, clips: Clips) -> None:
        """One step, its report, and a checkpoint if it is time."""
        draws = [
            keyed(self.config.seed, clips.epoch, sample, _STREAM).standard_normal(self.latent_TCHW, dtype="float32")
            for sample in clips.ids
        ]
        noise_BTCHW = torch.stack([torch.from_numpy(draw) for draw in draws]).to(self.world.device)
        values = self.step(pixels_of(clips.video.to(self.world.device)), noise_BTCHW, self.done)
        self.done, self.position = self.done + 1, dict(clips.position)
        if values.skipped:
            log.warning("codec step %d skipped: gradient not finite; clips %s", self.done, ", ".join(clips.keys))
        self._report(values)
        if self.done % self.config.checkpoint.every_steps == 0:
            self._save()

    def finish(self) -> Path:
        """The newest checkpoint, written now if need be."""
        if self.saved != self.done:
            self._save()
        self.saver.close()
        return checkpoint.of_step(self.output / "checkpoints", self.done)

    def _report(self, values: AutoencodingValues) -> None:
        if not self.world.is_first:
            return
        with (self.output / "metrics.jsonl").open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({"step": self.done, **values.parts, "skipped": values.skipped}) + "\n")
        if self.done % self.config.metrics.every_steps == 0:
            log.info("codec step %d: %s", self.done, ", ".join(f"{k} {v:.4f}" for k, v in values.parts.items()))

    def _networks(self) -> dict[str, dict[str, Tensor]]:
        groups: dict[str, dict[str, Tensor]] = {"codec": dict(self.codec.named_parameters())}
        if self.step.discriminator is not None:
            groups["discriminator"] = dict(self.step.discriminator.named_parameters())
        return groups

    def _save(self) -> None:
        groups: dict[str, Mapping[str, Tensor]] = dict(self._networks())
        for name, group in self._networks().items():
            groups[f"optim_{name}"] = optimizer_tensors([self.step.optimizers[name]], group)
        training = self.codec_config.training
        record = {"step": self.done, "position": self.position, **perceptual_record(training.perceptual)}
        present = {name: group for name, group in groups.items() if group}
        self.saver.save(self.done, present, {"config": self.config.resolved()}, record)
        self.saved = self.done

    def _resume(self) -> None:
        found = newest_for_all(self.output / "checkpoints", self.world)
        if found is None:
            return
        _check_same_stage(checkpoint.read_document(found, "config"), self.config.resolved())
        for name, group in self._networks().items():
            read_into(found, name, group, self.world)
            state = empty_state([self.step.optimizers[name]], group, names(found, f"optim_{name}"))
            read_into(found, f"optim_{name}", state, self.world)
        record = checkpoint.read_record(found)
        self.done = self.saved = record["step"]
        self.position = record["position"]
        log.info("codec resumed at step %d from %s", self.done, found)


def _check_same_stage(saved: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    changed = [key for key in ("codec", "seed", "precision") if saved[key] != now[key]]
    changed += [f"data.{key}" for key in ("view", "plan") if saved["data"][key] != now["data"][key]]
    if changed:
        raise ConfigError(
            f"config differs from the codec checkpoint's in {', '.join(changed)}; the same are allowed; restore them, "
            "or train into another folder"
        )


def _keep_lines(path: Path, up_to: int) -> None:
    """Drop reports of steps that a kill undid."""
    if path.is_file():
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if json.loads(line)["step"] <= up_to]
        path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
