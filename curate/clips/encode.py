"""A clip as newly encoded frames: for codecs that MP4 cannot carry exactly, and for who wants small, plain files.

ffmpeg decodes from a key frame before the span, picks frames by their pts (so a variable rate stays as it is) and turns
them upright. Pixels become 8-bit 4:2:0 with even sides (an odd last row or column is cut off); the sample aspect ratio
is kept unless the clip is resized, which makes pixels square.
"""

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, Self

import ffmpeg
from pydantic import Field, model_validator

from curate.clips.mp4_edit import Edit, num_tracks, read_edits, read_moov, write_edit
from curate.media.opening import check_regular_file, ffmpeg_path, input_url, open_rules
from shards.config import Config
from shards.errors import ClipError

SEEK_MARGIN_S = 0.5  # the demuxer may seek by decode times, which lie before the presentation
_X26X_PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")
_PRESETS = {
    "libx264": _X26X_PRESETS,
    "libx265": _X26X_PRESETS,
    "libsvtav1": tuple(str(level) for level in range(14)),
}
_SAID_CHARACTERS = 300


class EncodeConfig(Config):
    """How clips are encoded."""

    codec: Literal["libx264", "libx265", "libsvtav1"] = Field(
        default="libx264", description="FFmpeg's name of the encoder."
    )
    preset: str = Field(default="veryfast", description="Encoder's preset: ultrafast … veryslow; 0 … 13 for libsvtav1.")
    crf: int = Field(default=18, ge=0, le=63, description="Quality: 0 is best; libx264 and libx265 end at 51.")
    gop_frames: int = Field(
        default=48, ge=1, description="Largest distance of key frames; small is fast to read in parts."
    )
    threads: int = Field(default=1, ge=1, description="Encoder threads; other numbers may give other bytes.")
    short_side_px: int | None = Field(
        default=None,
        ge=16,
        description="Shrink so that the shorter displayed side has this many pixels, all square; never enlarges.",
    )

    @model_validator(mode="after")
    def _has_known_preset(self) -> Self:
        if self.preset not in _PRESETS[self.codec]:
            raise ValueError(
                f"preset is {self.preset!r}; {', '.join(_PRESETS[self.codec])} are allowed for {self.codec}"
            )
        return self


class EncodeFailed(ClipError):
    """ffmpeg did not write a file, or complained where it must not."""

    code = "encode_failed"


def encode_clip(
    source: Path,
    stream_index: int,
    span: tuple[int, int],
    time_base: Fraction,
    out: Path,
    config: EncodeConfig,
    size_hw: tuple[int, int] | None = None,
    *,
    from_file_start: bool = False,
) -> None:
    """Encode the frames with span[0] <= pts < span[1] to an MP4 whose edit list presents exactly these.

    Args:
        source: the source file.
        stream_index: its video stream.
        span: pts in the stream's time base, half-open.
        time_base: of the stream; a tick of the clip is one part of its denominator.
        out: the MP4 to write; deterministic bytes for one build of ffmpeg.
        config: encoder and quality.
        size_hw: height and width to resize to, upright; None keeps the source's.
        from_file_start: decode everything before the span too. Else decoding begins at a key frame, and any
            complaint of the decoder is an error, because frames may lack what lies before.

    Raises:
        EncodeFailed: ffmpeg failed, or the seek did not find a clean start.
        MediaError: the source is no regular file.
    """
    check_regular_file(source)
    node = ffmpeg.input(input_url(source), **_input_options(span[0] * time_base, from_file_start))
    node = _filtered(node[str(stream_index)], span, size_hw)
    command = node.output(f"file:{out.resolve()}", **_output_options(time_base, config))
    command = command.global_args("-nostdin", "-hide_banner", "-v", "error", "-copyts", "-filter_complex_threads", "1")
    said = _run(command)
    if said and not from_file_start:
        raise EncodeFailed(f"decoder says {said!r} after a seek; silence is needed; it starts at the file's start")
    moov = read_moov(out)
    if num_tracks(moov) == 0:
        raise EncodeFailed(f"no frame lies in {span}; one is needed; it starts at the file's start")
    # The muxer's edit list begins at the first frame; only its end is not exact.
    media_time = max((time for time, _ in read_edits(moov)), default=0)
    write_edit(out, Edit(media_time, (span[1] - span[0]) * time_base.numerator))


def upright_size(video: Mapping[str, Any], short_side_px: int | None = None) -> tuple[int, int]:
    """Displayed height and width in px of a clip of a video, both even.

    Args:
        video: row of VIDEO, or any with its picture columns.
        short_side_px: what the shorter side is shrunk to; None keeps the size.
    """
    width, height = video["width"] * Fraction(video["sar_num"], video["sar_den"]), Fraction(video["height"])
    if video["rotation_deg"] % 180:
        width, height = height, width
    scale = min(Fraction(1), Fraction(short_side_px) / min(width, height)) if short_side_px else Fraction(1)
    return _even(height * scale), _even(width * scale)


def _even(side: Fraction) -> int:
    return max(2, int(side / 2) * 2)


def _input_options(start_s: Fraction, from_file_start: bool) -> dict[str, Any]:
    options: dict[str, Any] = {**open_rules().options(), "threads": 1}
    if from_file_start or start_s <= SEEK_MARGIN_S:
        return options
    # A timestamp, not an offset from the container's start; no frame is dropped before the filter sees it.
    return options | {"seek_timestamp": 1, "noaccurate_seek": None, "ss": f"{float(start_s - SEEK_MARGIN_S):.6f}"}


def _filtered(node: Any, span: tuple[int, int], size_hw: tuple[int, int] | None) -> Any:
    """The frames of the span, the first at time 0; ffmpeg has turned them upright before."""
    node = node.filter("trim", start_pts=span[0], end_pts=span[1]).filter("setpts", "PTS-STARTPTS")
    if size_hw is None:
        return node.filter("crop", "trunc(iw/2)*2", "trunc(ih/2)*2", 0, 0)
    return node.filter("scale", size_hw[1], size_hw[0], flags="area+accurate_rnd").filter("setsar", 1)


def _output_options(time_base: Fraction, config: EncodeConfig) -> dict[str, Any]:
    scale = time_base.denominator
    return {
        **{"f": "mp4", "c:v": config.codec, "preset": config.preset, "crf": config.crf, "g": config.gop_frames},
        **{"threads": config.threads, "pix_fmt": "yuv420p", "flags:v": "+bitexact", "fflags": "+bitexact"},
        **{"fps_mode": "passthrough", "enc_time_base": f"1:{scale}"},
        **{"video_track_timescale": scale, "movie_timescale": scale},
        **{"map_metadata": -1, "map_chapters": -1},
        **_ENCODER_OPTIONS.get(config.codec, {}),
    }


_ENCODER_OPTIONS = {"libx265": {"x265-params": "log-level=error", "tag:v": "hvc1"}}


def _run(command: Any) -> str:
    """Run ffmpeg; what it said, shortened."""
    try:
        _, said = ffmpeg.run(
            command, cmd=ffmpeg_path(), capture_stdout=True, capture_stderr=True, overwrite_output=True
        )
    except ffmpeg.Error as error:
        raise EncodeFailed(
            f"ffmpeg says {_short(error.stderr)!r}; it must not fail; see the source's damage"
        ) from error
    return _short(said)


def _short(said: bytes) -> str:
    lines = said.decode(errors="replace").splitlines()
    return " ".join(line for line in lines if not line.startswith("Svt["))[
        :_SAID_CHARACTERS
    ]  # SVT-AV1 greets at length
