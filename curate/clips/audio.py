"""The sound of a clip: exactly its span, as AAC, in step with the pictures to the sample.

Whatever the source's codec is, sound is decoded and encoded anew: packets of sound hold about 20 ms, so copied ones
would begin and end beside the span, and a stranger's sound would reach the trainer's machine undecoded.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ffmpeg

from curate.clips.mp4_edit import read_edits, read_moov
from curate.media.opening import check_regular_file, input_url, open_video
from shards.errors import ClipError

if TYPE_CHECKING:
    from av import Packet
    from av.container import InputContainer, OutputContainer

BIT_RATE = "128k"
MAX_CHANNELS = 2
AUDIO_OPTIONS = {"c:a": "aac", "b:a": BIT_RATE, "ac": MAX_CHANNELS, "flags:a": "+bitexact"}


class AudioNotInStep(ClipError):
    """The sound of a clip is not as long as its pictures, or begins elsewhere."""

    code = "audio_not_in_step"


@dataclass(frozen=True)
class Sound:
    """Encoded sound of a span.

    Attributes:
        path: a file with one audio stream.
        priming: samples that the encoder puts before the first one.
    """

    path: Path
    priming: int


def audio_stream(source: Path) -> int | None:
    """Index of the first audio stream of a file that can be decoded; None if there is none."""
    with open_video(source) as container:
        return next((stream.index for stream in container.streams.audio if stream.codec_context is not None), None)


def filtered_audio(node: Any, start_s: Fraction, duration_s: Fraction) -> Any:
    """The sound of a span as ffmpeg filters it: silence where there is none, so that it is as long as the pictures.

    Args:
        node: an audio stream of ffmpeg-python's input, with its own time stamps (`-copyts`).
        start_s: of the first picture.
        duration_s: of all pictures.
    """
    start, length = f"{float(start_s):.6f}", f"{float(duration_s):.6f}"
    node = node.filter("atrim", start=start, end=f"{float(start_s + duration_s):.6f}")
    node = node.filter("asetpts", f"PTS-{start}/TB").filter("aresample", **{"async": 1, "first_pts": 0})
    return node.filter("apad", whole_dur=length).filter("atrim", end=length)


def encode_audio(source: Path, stream_index: int, start_s: Fraction, duration_s: Fraction, out: Path) -> Sound:
    """Encode the sound of a span to a file of its own.

    Raises:
        EncodeFailed: ffmpeg failed.
    """
    from curate.clips.encode import GLOBAL_ARGUMENTS, input_options, run_ffmpeg

    check_regular_file(source)
    node = ffmpeg.input(input_url(source), **input_options(start_s))[str(stream_index)]
    options = {"f": "mp4", "fflags": "+bitexact", "map_metadata": -1, **AUDIO_OPTIONS}
    output = ffmpeg.output(filtered_audio(node, start_s, duration_s), f"file:{out.resolve()}", **options)
    run_ffmpeg(output.global_args(*GLOBAL_ARGUMENTS))
    return Sound(out, max((time for time, _ in read_edits(read_moov(out))), default=0))


def add_sound(target: "OutputContainer", sound: "InputContainer") -> "Iterator[Packet]":
    """A track for the only stream of `sound` in `target`, and its packets for it, priming included, the first at 0."""
    stream = sound.streams.audio[0]
    track = target.add_stream_from_template(stream)
    first: int | None = None
    for packet in sound.demux(stream):
        if packet.size and packet.pts is not None:
            first = packet.pts if first is None else first
            packet.pts = packet.dts = packet.pts - first
            packet.stream = track
            yield packet


def check_in_step(path: Path, duration_s: Fraction) -> None:
    """Refuse a clip whose sound does not begin with the pictures and end with them, within one frame of sound.

    Raises:
        AudioNotInStep: it does not, or there is none.
    """
    with open_video(path) as container:
        if not container.streams.audio:
            raise AudioNotInStep(f"{path.name} has no sound; its source has; set cut.audio to drop")
        stream = container.streams.audio[0]
        frames = [(frame.pts, frame.samples) for frame in container.decode(stream)]
        rate = stream.rate
    frame_samples = max((samples for _, samples in frames), default=0)
    num_samples, wanted = sum(samples for _, samples in frames), duration_s * rate
    starts = frames[0][0] if frames else None
    if starts is None or abs(starts) > frame_samples or abs(num_samples - wanted) > frame_samples:
        raise AudioNotInStep(
            f"sound begins at sample {starts} and has {num_samples}; 0 and {float(wanted):.0f} are planned, within "
            f"{frame_samples}; set cut.audio to drop"
        )
