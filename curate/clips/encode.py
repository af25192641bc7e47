"""Clips as newly encoded frames: for codecs that MP4 cannot carry exactly, and for who wants small, plain files.

ffmpeg decodes from a key frame before the span, picks frames by their pts (so a variable rate stays as it is) and turns
them upright; one decode feeds any number of targets. Sides are even (an odd last row or column is cut off); the sample
aspect ratio is kept unless a clip is resized, which makes pixels square.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import ffmpeg

from curate.clips.audio import AUDIO_OPTIONS, filtered_audio
from curate.clips.encoders import EncodeConfig, encoder_options
from curate.clips.mp4_edit import Edit, num_tracks, read_edits, read_moov, write_edit
from curate.clips.picture_size import Box
from curate.media.opening import check_regular_file, ffmpeg_path, input_url, open_rules
from shards.errors import ClipError

SEEK_MARGIN_S = 0.5  # the demuxer may seek by decode times, which lie before the presentation
_SAID_CHARACTERS = 300


class EncodeFailed(ClipError):
    """ffmpeg did not write a file, or complained where it must not."""

    code = "encode_failed"


@dataclass(frozen=True)
class Target:
    """One file to make of the decoded frames.

    Attributes:
        out: the MP4 to write.
        config: encoder and quality.
        size_hw: height and width to resize to, upright; None keeps the size.
        box: what to keep of the upright picture; None for all.
    """

    out: Path
    config: EncodeConfig
    size_hw: tuple[int, int] | None = None
    box: Box | None = None


def encode_clip(
    source: Path,
    stream_index: int,
    span: tuple[int, int],
    time_base: Fraction,
    targets: Sequence[Target],
    *,
    audio_index: int | None = None,
    from_file_start: bool = False,
) -> None:
    """Encode the frames with span[0] <= pts < span[1] to MP4s whose edit lists present exactly these.

    Args:
        source: the source file.
        stream_index: its video stream.
        span: pts in the stream's time base, half-open.
        time_base: of the stream; a tick of the clip is one part of its denominator.
        targets: the files to write, of one decode; deterministic bytes for one build of ffmpeg.
        audio_index: stream whose sound goes with the frames; None for none.
        from_file_start: decode everything before the span too. Else decoding begins at a key frame, and any
            complaint of the decoder is an error, because frames may lack what lies before.

    Raises:
        EncodeFailed: ffmpeg failed, or the seek did not find a clean start.
        MediaError: the source is no regular file.
    """
    check_regular_file(source)
    command = encode_command(source, stream_index, span, time_base, targets, audio_index, from_file_start)
    said = run_ffmpeg(command)
    if said and not from_file_start:
        raise EncodeFailed(f"decoder says {said!r} after a seek; silence is needed; it starts at the file's start")
    for target in targets:
        moov = read_moov(target.out)
        edits = read_edits(moov) if num_tracks(moov) else []
        if not edits and num_tracks(moov) == 0:
            raise EncodeFailed(f"no frame lies in {span}; one is needed; it starts at the file's start")
        # The muxer's edit list begins at the first frame; only its end is not exact.
        media_time = max((time for time, _ in edits), default=0)
        write_edit(target.out, Edit(media_time, (span[1] - span[0]) * time_base.numerator))


def encode_command(
    source: Path,
    stream_index: int,
    span: tuple[int, int],
    time_base: Fraction,
    targets: Sequence[Target],
    audio_index: int | None = None,
    from_file_start: bool = False,
) -> Any:
    """The ffmpeg call of `encode_clip`, as ffmpeg-python's stream."""
    start_s, duration_s = span[0] * time_base, (span[1] - span[0]) * time_base
    node = ffmpeg.input(input_url(source), **input_options(start_s, from_file_start))
    shown = node[str(stream_index)].filter("trim", start_pts=span[0], end_pts=span[1]).filter("setpts", "PTS-STARTPTS")
    pictures = _shared(shown, "split", len(targets))
    sound = filtered_audio(node[str(audio_index)], start_s, duration_s) if audio_index is not None else None
    sounds = _shared(sound, "asplit", len(targets)) if sound is not None else []
    outputs = []
    for number, target in enumerate(targets):
        streams = [_filtered(pictures[number], time_base, target), *sounds[number : number + 1]]
        options = _output_options(time_base, target.config) | (AUDIO_OPTIONS if sounds else {})
        outputs.append(ffmpeg.output(*streams, f"file:{target.out.resolve()}", **options))
    return ffmpeg.merge_outputs(*outputs).global_args(*GLOBAL_ARGUMENTS)


GLOBAL_ARGUMENTS = ("-nostdin", "-hide_banner", "-v", "error", "-copyts", "-filter_complex_threads", "1")


def input_options(start_s: Fraction, from_file_start: bool = False) -> dict[str, Any]:
    """Options that open a stranger's file under the rules of this process, near a time."""
    options: dict[str, Any] = {**open_rules().options(), "threads": 1}
    if from_file_start or start_s <= SEEK_MARGIN_S:
        return options
    # A timestamp, not an offset from the container's start; no frame is dropped before the filter sees it.
    return options | {"seek_timestamp": 1, "noaccurate_seek": None, "ss": f"{float(start_s - SEEK_MARGIN_S):.6f}"}


def picked(pts: Sequence[int], time_base: Fraction, config: EncodeConfig) -> list[int]:
    """The times that `fps` leaves of those of a span, which begins at 0: the first of each 1 / fps s."""
    if config.rate is None:
        return list(pts)
    step = time_base * config.rate
    first: dict[int, int] = {}
    for one in pts:
        first.setdefault(one * step.numerator // step.denominator, one)
    return list(first.values())


def run_ffmpeg(command: Any) -> str:
    """Run ffmpeg; what it said, shortened.

    Raises:
        EncodeFailed: it failed.
    """
    try:
        _, said = ffmpeg.run(
            command, cmd=ffmpeg_path(), capture_stdout=True, capture_stderr=True, overwrite_output=True
        )
    except ffmpeg.Error as error:
        raise EncodeFailed(
            f"ffmpeg says {_short(error.stderr)!r}; it must not fail; see the source's damage"
        ) from error
    return _short(said)


def _shared(node: Any, kind: str, number: int) -> list[Any]:
    if number == 1:
        return [node]
    split = node.filter_multi_output(kind, number)
    return [split[index] for index in range(number)]


def _filtered(node: Any, time_base: Fraction, target: Target) -> Any:
    """The frames of the span, the first at time 0; ffmpeg has turned them upright before."""
    rate = target.config.rate
    if rate is not None:
        step = time_base * rate
        period = f"floor(%s*{step.numerator}/{step.denominator})"
        changed = f"gt({period % 'pts'},{period % 'prev_selected_pts'})"
        node = node.filter("select", f"isnan(prev_selected_pts)+{changed}")
    if target.box is not None:
        box = target.box
        node = node.filter("crop", box.width, box.height, box.left, box.top)
    if target.size_hw is None:
        return node.filter("crop", "trunc(iw/2)*2", "trunc(ih/2)*2", 0, 0)
    return node.filter("scale", target.size_hw[1], target.size_hw[0], flags="area+accurate_rnd").filter("setsar", 1)


def _output_options(time_base: Fraction, config: EncodeConfig) -> dict[str, Any]:
    scale = time_base.denominator
    return {
        **{"f": "mp4", "fflags": "+bitexact", "map_metadata": -1, "map_chapters": -1},
        **{"fps_mode": "passthrough", "enc_time_base": f"1:{scale}"},
        **{"video_track_timescale": scale, "movie_timescale": scale},
        **encoder_options(config),
    }


def _short(said: bytes) -> str:
    lines = said.decode(errors="replace").splitlines()
    return " ".join(line for line in lines if not line.startswith("Svt["))[
        :_SAID_CHARACTERS
    ]  # SVT-AV1 greets at length
