"""Light, contrast and sharpness of a clip.

Levels are the luma as stored: in most video (limited range) 16 is black and 235 is white.
"""

from collections.abc import Mapping

import cv2
import numpy as np
import pyarrow as pa
from pydantic import Field

from curate.scan import Span
from curate.stage import Clip, SpanStage
from shards.config import Config
from shards.errors import ClipTooShort
from shards.schema import column


class LightConfig(Config):
    """How often light is sampled, and what is dark and bright."""

    frames_per_s: float = Field(default=4.0, gt=0, description="Frames looked at, per second.")
    dark_level: int = Field(default=40, ge=1, le=255, description="Luma below which a pixel is dark.")
    bright_level: int = Field(default=220, ge=0, le=254, description="Luma above which a pixel is bright.")


def sampled(grey_THW: np.ndarray, time_T: np.ndarray, frames_per_s: float) -> np.ndarray:
    """Frames about evenly spread over time: at least one, each at most once.

    Raises:
        ClipTooShort: no frame.
    """
    if not len(grey_THW):
        raise ClipTooShort("clip has 0 frames; light needs 1; raise scenes.min_clip_s")
    duration_s = float(time_T[-1] - time_T[0])
    num_frames = min(len(grey_THW), max(1, round(duration_s * frames_per_s)))
    middles = time_T[0] + (np.arange(num_frames) + 0.5) / num_frames * duration_s
    nearest = np.searchsorted((time_T[1:] + time_T[:-1]) / 2, middles)
    return grey_THW[np.unique(nearest)]


def sharpness(grey_THW: np.ndarray) -> float:
    """Median over frames of the variance of the Laplacian, levels squared; low is blurred, at the small frames' scale.

    Source: Pech-Pacheco et al., Diatom autofocusing in brightfield microscopy, ICPR 2000.
    """
    variances = [cv2.meanStdDev(cv2.Laplacian(grey_HW, cv2.CV_64F))[1][0, 0] ** 2 for grey_HW in grey_THW]
    return float(np.median(variances))


class Light(SpanStage):
    """Light scores of a clip, from its small frames."""

    name, version = "light", 1
    adds = pa.schema(
        [
            column("luma_mean", pa.float32(), "levels", "Mean luma."),
            column("luma_std", pa.float32(), "levels", "Standard deviation of luma within a frame, mean over frames."),
            column("dark_share", pa.float32(), "", "Share of dark pixels."),
            column("bright_share", pa.float32(), "", "Share of bright pixels."),
            column("sharpness", pa.float32(), "levels²", "Median variance of the Laplacian of the small frames."),
        ]
    )

    def __init__(self, config: LightConfig) -> None:
        self.config = config

    def score(self, clip: Clip, span: Span) -> Mapping[str, object]:
        """Values of one clip."""
        grey_THW = sampled(span.grey_THW, span.time_T, self.config.frames_per_s)
        return {
            "luma_mean": float(grey_THW.mean()),
            "luma_std": float(grey_THW.std(axis=(1, 2)).mean()),
            "dark_share": float((grey_THW < self.config.dark_level).mean()),
            "bright_share": float((grey_THW > self.config.bright_level).mean()),
            "sharpness": sharpness(grey_THW),
        }

    def identity(self) -> dict[str, object]:
        """Name, version and knobs."""
        return {**super().identity(), "config": self.config.resolved()}
