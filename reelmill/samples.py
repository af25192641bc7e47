"""Generated videos as files: one animation per prompt and a contact sheet."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from reelmill.contact_sheet import contact_sheet

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


def write_gif(frames_THWC: np.ndarray, path: Path, frame_ms: int = FRAME_MS) -> Path:
    """An endless animation; small frames grow by a whole factor so that pixels stay pixels."""
    factor = max(1, SCALED_SIDE_PX // max(frames_THWC.shape[1:3]))
    grown_THWC = frames_THWC.repeat(factor, axis=1).repeat(factor, axis=2)
    first, *rest = [Image.fromarray(frame_HWC) for frame_HWC in grown_THWC]
    first.save(path, save_all=True, append_images=rest, duration=frame_ms, loop=0)
    return path
