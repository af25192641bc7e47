"""How clips are encoded: the options of each encoder, and what is refused before anything runs.

Every encoder gets a key frame exactly every `gop_frames` frames and closed groups, so a trainer that reads a part of a
clip decodes at most one group more than it shows, wherever the part begins.
"""

import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from curate.media.opening import ffmpeg_path
from shards.config import Config
from shards.errors import ConfigError

PixFmt = Literal["yuv420p", "yuv422p", "yuv444p", "yuv420p10le"]
_X26X_PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")
_NVENC_PRESETS = tuple(f"p{level}" for level in range(1, 8))
_X26X_FORMATS = {name: name for name in ("yuv420p", "yuv422p", "yuv444p", "yuv420p10le")}
_SAID_CHARACTERS = 300


class EncodeConfig(Config):
    """How clips are encoded."""

    encoder: Literal["libx264", "libx265", "libsvtav1", "libvpx-vp9", "h264_nvenc", "hevc_nvenc"] = Field(
        default="libx264", description="FFmpeg's name of the encoder; nvenc needs an NVIDIA GPU."
    )
    preset: str | None = Field(
        default=None,
        description="Speed: ultrafast … veryslow (x264, x265), 0 … 13 (SVT-AV1), 0 … 8 (VP9), p1 … p7 (NVENC); null: "
        "veryfast, 10, 6, p4.",
    )
    crf: int = Field(default=18, ge=0, le=63, description="Quality: 0 is best; x264, x265 and NVENC end at 51.")
    pix_fmt: PixFmt = Field(default="yuv420p", description="Pixel format; 8-bit 4:2:0 is what every decoder reads.")
    gop_frames: int = Field(
        default=48, ge=1, description="A key frame every so many frames, closed groups; small is fast to read in parts."
    )
    threads: int = Field(default=1, ge=1, description="Encoder threads; other numbers may give other bytes.")
    short_side_px: int | None = Field(
        default=None,
        ge=16,
        description="Shrink so that the shorter displayed side has this many pixels, all square; never enlarges.",
    )
    crop: Literal["none", "inner_box"] = Field(
        default="none", description="inner_box: black borders are cut off, by the scores border_*, before resizing."
    )
    fps: float | None = Field(
        default=None,
        gt=0,
        description="Most frames per second: the first of each 1 / fps s, at its own time, none repeated; null: all.",
    )

    @property
    def rate(self) -> Fraction | None:
        """`fps` as it was written."""
        return None if self.fps is None else Fraction(str(self.fps))

    @property
    def changes_pictures(self) -> bool:
        """Whether something is asked for that a copy cannot do."""
        return self.short_side_px is not None or self.crop != "none" or self.fps is not None

    @model_validator(mode="after")
    def _fits_its_encoder(self) -> Self:
        known = ENCODERS[self.encoder]
        if self.preset is not None and self.preset not in known.presets:
            raise ValueError(f"preset is {self.preset!r}; {', '.join(known.presets)} are allowed for {self.encoder}")
        if self.crf > known.max_crf:
            raise ValueError(f"crf is {self.crf}; at most {known.max_crf} is allowed for {self.encoder}")
        if self.pix_fmt not in known.pix_fmts:
            raise ValueError(f"pix_fmt is {self.pix_fmt}; {', '.join(known.pix_fmts)} are allowed for {self.encoder}")
        return self


@dataclass(frozen=True)
class Encoder:
    """What one of FFmpeg's encoders understands.

    Attributes:
        presets: its speeds.
        default_preset: that of `preset: null`.
        max_crf: worst quality.
        pix_fmts: pixel format -> FFmpeg's name of it for this encoder.
        options: its command line, but for what is common to all.
    """

    presets: tuple[str, ...]
    default_preset: str
    max_crf: int
    pix_fmts: Mapping[str, str]
    options: Callable[[EncodeConfig, str], dict[str, Any]]


def encoder_options(config: EncodeConfig) -> dict[str, Any]:
    """FFmpeg's output options that choose the encoder, its quality and its groups of pictures."""
    known = ENCODERS[config.encoder]
    own = known.options(config, config.preset or known.default_preset)
    common = {"c:v": config.encoder, "g": config.gop_frames, "pix_fmt": known.pix_fmts[config.pix_fmt]}
    return common | own | {"flags:v": "+bitexact+cgop"}


def check_encoder(config: EncodeConfig, ffmpeg: str | None) -> None:
    """Encode one small picture, so that an encoder that does not run here is named before the work, not after it.

    Args:
        config: how clips are encoded.
        ffmpeg: `media.ffmpeg`; None for the pinned one.

    Raises:
        ConfigError: ffmpeg cannot encode so on this machine.
    """
    options = [word for name, value in encoder_options(config).items() for word in (f"-{name}", str(value))]
    picture = ["-f", "lavfi", "-i", "color=s=256x256:r=25", "-frames:v", "1"]
    command = [ffmpeg_path(ffmpeg), "-nostdin", "-v", "error", *picture, *options, "-f", "null", "-"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        said = " ".join(done.stderr.split())[:_SAID_CHARACTERS]
        raise ConfigError(f"encoder is {config.encoder}; ffmpeg cannot run it here: {said}; choose another encoder")


def _x264(config: EncodeConfig, preset: str) -> dict[str, Any]:
    groups = {"keyint_min": config.gop_frames, "sc_threshold": 0}
    return {"preset": preset, "crf": config.crf, "threads": config.threads} | groups


def _x265(config: EncodeConfig, preset: str) -> dict[str, Any]:
    groups = f"keyint={config.gop_frames}:min-keyint={config.gop_frames}:scenecut=0:open-gop=0"
    said = {"x265-params": f"log-level=error:{groups}", "tag:v": "hvc1"}
    return {"preset": preset, "crf": config.crf, "threads": config.threads} | said


def _svtav1(config: EncodeConfig, preset: str) -> dict[str, Any]:
    groups = {"svtav1-params": f"keyint={config.gop_frames}:irefresh-type=2:scd=0"}
    return {"preset": preset, "crf": config.crf, "threads": config.threads} | groups


def _vp9(config: EncodeConfig, preset: str) -> dict[str, Any]:
    speed = {"deadline": "good", "cpu-used": preset, "row-mt": 0}
    return speed | {"crf": config.crf, "b:v": 0, "threads": config.threads, "keyint_min": config.gop_frames}


def _nvenc(config: EncodeConfig, preset: str) -> dict[str, Any]:
    groups = {"no-scenecut": 1, "forced-idr": 1, "strict_gop": 1}
    return {"preset": preset, "rc": "vbr", "cq": config.crf, "b:v": 0} | groups


def _hevc_nvenc(config: EncodeConfig, preset: str) -> dict[str, Any]:
    return _nvenc(config, preset) | {"tag:v": "hvc1"}


ENCODERS: dict[str, Encoder] = {
    "libx264": Encoder(_X26X_PRESETS, "veryfast", 51, _X26X_FORMATS, _x264),
    "libx265": Encoder(_X26X_PRESETS, "veryfast", 51, _X26X_FORMATS, _x265),
    "libsvtav1": Encoder(
        tuple(map(str, range(14))), "10", 63, {name: name for name in ("yuv420p", "yuv420p10le")}, _svtav1
    ),
    "libvpx-vp9": Encoder(tuple(map(str, range(9))), "6", 63, _X26X_FORMATS, _vp9),
    "h264_nvenc": Encoder(_NVENC_PRESETS, "p4", 51, {name: name for name in ("yuv420p", "yuv444p")}, _nvenc),
    "hevc_nvenc": Encoder(
        _NVENC_PRESETS, "p4", 51, {"yuv420p": "yuv420p", "yuv444p": "yuv444p", "yuv420p10le": "p010le"}, _hevc_nvenc
    ),
}
