"""Long videos of bouncing shapes, without text: how far into a video the oracle still reads the shape it began with.

A video is cut into windows of a clip's length. In each the oracle reads colour and kind; direction turns around and
says nothing. `readable` is the share of windows with both; `kept` the share that show those of the first window (one
that is not readable counts as lost); `kept at the end` that of the last quarter.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reelmill.bench.train_compare import CompareConfig, Row, folder_of, trained
from reelmill.toyworld.oracle import read
from train.sample.generate import load, with_overrides
from train.sample.long import generate_long

CLIP_FRAMES, FPS = 16, 8.0
KEY_STRIDE = CLIP_FRAMES - 1
PERTURBED = "perturb_max: 0.25, level_embedding: label"
BASE = ("codec={kind: transform, haar_frames: 1}", "conditions={text: null}", f"data.view.num_frames={CLIP_FRAMES}")
PREDICT, FILL = "masks: [{kind: prediction}]", "masks: [{kind: interpolation}]"
GUIDED = "guidance=[{weight: 1.1}, {weight: -0.1, drop: [frames]}]"
LVDM_LEVEL = "given_level=0.1"


@dataclass(frozen=True)
class LongVariant:
    """One way to make long videos.

    Attributes:
        frames: further keys of conditions.frames.
        sampling: overrides of the sampler.
        hierarchical: key frames first, then what lies between; else clip after clip.
    """

    frames: str = PERTURBED
    sampling: tuple[str, ...] = (GUIDED, LVDM_LEVEL)
    hierarchical: bool = True


LONG: Mapping[str, LongVariant] = {
    "all": LongVariant(),
    "no hierarchy": LongVariant(hierarchical=False),
    "no perturbation": LongVariant(frames="perturb_max: 0.0", sampling=(GUIDED,)),
    "no guidance": LongVariant(sampling=("guidance=1", LVDM_LEVEL)),
}
TRAPS: Mapping[str, LongVariant] = {
    name: LongVariant(frames=f"{PERTURBED}{switches}", hierarchical=False)
    for name, switches in {
        "consistent": "",
        "trap 1: uncond_level random": ", uncond_level: random",
        "trap 2: given_in_uncond": ", given_in_uncond: true",
        "trap 3: given_in_loss": ", given_in_loss: true",
        "all three": ", uncond_level: random, given_in_uncond: true, given_in_loss: true",
    }.items()
}


def trap_rows(config: CompareConfig, output: Path) -> list[Row]:
    """LVDM's switches, by videos of a quarter of the length, made clip after clip."""
    return _rows(config, output, TRAPS, config.frames // 4)


def long_rows(config: CompareConfig, output: Path) -> list[Row]:
    """Hierarchy, perturbation and guidance switched off in turn."""
    return _rows(config, output, LONG, config.frames)


def judge(videos_BTHWC: np.ndarray, window: int = CLIP_FRAMES) -> dict[str, float]:
    """Shares over all windows of all videos; see above."""
    found = [
        [_shown(video[k : k + window]) for k in range(0, len(video) - window + 1, window)] for video in videos_BTHWC
    ]
    readable_BW = np.array([[shown is not None for shown in windows] for windows in found])
    kept_BW = np.array([[shown is not None and shown == windows[0] for shown in windows] for windows in found])
    last = max(1, kept_BW.shape[1] // 4)
    return {
        "readable": float(readable_BW.mean()),
        "kept": float(kept_BW.mean()),
        "kept at the end": float(kept_BW[:, -last:].mean()),
    }


def _shown(frames_THWC: np.ndarray) -> tuple[str, str] | None:
    reading = read(frames_THWC)
    return None if reading.colour is None or reading.kind is None else (reading.colour, reading.kind)


def _rows(config: CompareConfig, output: Path, variants: Mapping[str, LongVariant], frames: int) -> list[Row]:
    return [
        _row(config, output, name, variant, frames, seed)
        for name, variant in variants.items()
        for seed in range(config.seeds)
    ]


def _row(config: CompareConfig, output: Path, name: str, variant: LongVariant, frames: int, seed: int) -> Row:
    stages: Sequence[tuple[str, str, float]] = [("clips", PREDICT, FPS)]
    if variant.hierarchical:
        stages = [("keys", PREDICT, FPS / KEY_STRIDE), ("fill", FILL, FPS)]
    results, models = [], []
    for stage, masks, fps in stages:
        folder = _shared_folder(output, stage, variant.frames, seed)
        overrides = (*BASE, f"conditions.frames={{{masks}, {variant.frames}}}")
        results.append(trained(config, folder, overrides, seed, fps=fps, bouncing=True))
        models.append(load(folder))
    begin_s = time.monotonic()
    kind = "hierarchical" if variant.hierarchical else "autoregressive"
    changed = with_overrides(models[0].config, [*variant.sampling, f"windows.kind={kind}"])
    wishes = models[0].wishes([""] * config.videos)
    videos = generate_long(
        models[0], wishes, frames, windows=changed.windows, sampler=changed.sampler, fillers=models[1:]
    )
    return Row(
        name,
        seed,
        results[0].loss,
        sum(result.elapsed_s for result in results),
        time.monotonic() - begin_s,
        judge(videos),
    )


def _shared_folder(output: Path, stage: str, frames: str, seed: int) -> Path:
    """Variants that differ in sampling only share their trainings."""
    trained_as = "".join(letter if letter.isalnum() or letter in "._" else "_" for letter in frames)
    return folder_of(output, f"{stage}-{trained_as}", seed)
