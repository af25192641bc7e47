"""Generated videos as files: one animation per prompt and a contact sheet."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

from reelmill.contact_sheet import contact_sheet
from shards.errors import ConfigError

if TYPE_CHECKING:
    from train.sample.generate import TextToVideo

SCALED_SIDE_PX = 128
FRAME_MS = 125


def write_samples(videos_BTHWC: np.ndarray, prompts: Sequence[str], folder: Path) -> list[Path]:
    """Write `<number>-<prompt>.gif` per video and `contact_sheet.png`; returns the paths.

    Args:
        videos_BTHWC: uint8 RGB.
        prompts: text of each video.
        folder: made if missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    gifs = [
        write_gif(video_THWC, folder / f"{number:03d}-{re.sub('[^a-z0-9]+', '-', prompt.lower())[:60]}.gif")
        for number, (video_THWC, prompt) in enumerate(zip(videos_BTHWC, prompts, strict=True))
    ]
    return [*gifs, contact_sheet(videos_BTHWC, prompts, None, folder / "contact_sheet.png")]


def first_frames(path: Path, model: "TextToVideo", count: int) -> np.ndarray:
    """A picture as the beginning of so many videos: covered and cut to the model's size, one latent frame long.

    Returns:
        uint8 RGB of shape (count, T, H, W, C).

    Raises:
        ConfigError: there is no picture at the path.
    """
    view, codec = model.config.data.view, model.frozen.codec
    try:
        with Image.open(path) as picture:
            fitted = ImageOps.fit(picture.convert("RGB"), (view.width, view.height), Image.Resampling.BOX)
    except OSError as error:
        raise ConfigError(f"--first-frame is {path}; a picture is allowed ({error}); name another file") from None
    frames = 1 if codec.first_frame_alone else codec.frames_per_latent
    return np.broadcast_to(np.asarray(fitted), (count, frames, view.height, view.width, 3)).copy()


def write_gif(frames_THWC: np.ndarray, path: Path, frame_ms: int = FRAME_MS) -> Path:
    """An endless animation; small frames grow by a whole factor so that pixels stay pixels."""
    factor = max(1, SCALED_SIDE_PX // max(frames_THWC.shape[1:3]))
    grown_THWC = frames_THWC.repeat(factor, axis=1).repeat(factor, axis=2)
    first, *rest = [Image.fromarray(frame_HWC) for frame_HWC in grown_THWC]
    first.save(path, save_all=True, append_images=rest, duration=frame_ms, loop=0)
    return path
