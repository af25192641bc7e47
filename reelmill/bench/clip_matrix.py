"""Sources that are hard to cut, drawn by the pinned ffmpeg: codec x rate x group of pictures x start, turn, streams.

Each shows three shots of a picture that differs from frame to frame. A key frame is asked for at the first hard cut and
none at the second, so the shots are a clip that ends at a key frame, one that begins at it, and one that begins within
a group. `quick_matrix` covers every value of every axis and the pairs that have made trouble;
`full_matrix` is the product, as far as codecs and containers allow it.
"""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from curate.media.opening import ffmpeg_path

RATE = 25
SHOT_ENDS = (30, 65, 96)  # frames past each shot; a key frame is asked for at the first
NUM_FRAMES = SHOT_ENDS[-1]
WIDTH, HEIGHT = 160, 96
LATE_START_S = 7.3
GOP_FRAMES = 24
AUDIO_RATE = 48_000
CLICK_S = 0.23  # from click to click, the first at 0; each is of another pitch

_SHOTS = (
    rf"testsrc2=s={WIDTH}x{HEIGHT}:r={RATE},negate=enable='between(n\,{SHOT_ENDS[0]}\,{SHOT_ENDS[1] - 1})',"
    rf"hue=h=120:enable='gte(n\,{SHOT_ENDS[1]})'"
)
_UNEVEN = rf"settb=1/30000,setpts=(N+0.2*mod(N\,5))/{RATE}/TB"
CLICKS = (
    rf"aevalsrc='if(lt(mod(t\,{CLICK_S})\,0.01)\,0.8*sin(2*PI*(500+200*floor(t/{CLICK_S}))*t)\,0)':"
    f"s={AUDIO_RATE}:d={NUM_FRAMES / RATE + 0.5}"
)

# container -> codecs that it carries here; the first is the codec's own.
CONTAINERS = {
    "h264": ("mp4", "mkv", "ts", "mov", "flv"),
    "hevc": ("mp4", "mkv", "ts"),
    "vp9": ("webm", "mp4"),
    "av1": ("mkv", "mp4"),
    "mpeg2": ("mpg", "ts", "mkv"),
    "mpeg4": ("mp4", "avi", "mkv"),
    "prores": ("mov",),
    "mjpeg": ("mov", "avi", "mkv"),
}
COPIED = ("h264", "hevc", "vp9", "av1")
_CONSTANT_ONLY = ("avi", "mpg", "flv", "mpeg2")  # containers and codecs that tell no uneven times
_TURNS = ("mp4", "mov")
_AUDIO = {"webm": "libopus", "mpg": "mp2", "avi": "mp3", "ts": "mp2"}


@dataclass(frozen=True)
class Source:
    """How one source is made.

    Attributes:
        codec: key of CONTAINERS.
        container: file name extension.
        is_vfr: uneven distances of frames.
        is_open: groups of pictures that begin with frames of the group before (VP9, AV1: with hidden frames instead).
        b_frames: most reordered frames in a row.
        start_s: presentation time of the first frame.
        rotation_deg: turn by the container's matrix.
        num_streams: video streams; the one that is cut is the last.
        has_audio: clicks beside it.
    """

    codec: str
    container: str
    is_vfr: bool = False
    is_open: bool = False
    b_frames: int = 0
    start_s: float = 0.0
    rotation_deg: int = 0
    num_streams: int = 1
    has_audio: bool = False

    @property
    def name(self) -> str:
        """All that distinguishes it, readable, fit for a file name."""
        words = [self.codec, "vfr" if self.is_vfr else "cfr", "open" if self.is_open else "closed", f"b{self.b_frames}"]
        words += ["late"] if self.start_s else []
        words += [f"rot{self.rotation_deg}"] if self.rotation_deg else []
        words += [f"{self.num_streams}streams"] if self.num_streams > 1 else []
        words += ["audio"] if self.has_audio else []
        return "-".join([*words, self.container])

    @property
    def stream_index(self) -> int:
        """Of the stream that is cut."""
        return self.num_streams - 1


def quick_matrix() -> list[Source]:
    """A covering set of 17 sources, 51 clips."""
    return [
        Source("h264", "mp4", b_frames=3, has_audio=True),
        Source("h264", "mkv", is_open=True, b_frames=3),
        Source("h264", "mp4", is_vfr=True, rotation_deg=90),
        Source("h264", "mkv", is_vfr=True, is_open=True, b_frames=3, num_streams=2),
        Source("h264", "ts", b_frames=3, start_s=LATE_START_S, has_audio=True),
        Source("h264", "mov", b_frames=3, start_s=LATE_START_S, rotation_deg=270),
        Source("hevc", "mp4", is_open=True, b_frames=3, rotation_deg=180),
        Source("hevc", "ts", is_open=True, b_frames=3, start_s=LATE_START_S),
        Source("hevc", "mkv", is_vfr=True, has_audio=True),
        Source("vp9", "webm", is_open=True, has_audio=True),
        Source("vp9", "mp4", is_vfr=True, start_s=LATE_START_S),
        Source("av1", "mkv", is_open=True, num_streams=2),
        Source("av1", "mp4", is_vfr=True, is_open=True),
        Source("mpeg2", "ts", is_open=True, b_frames=3, start_s=LATE_START_S),
        Source("mpeg4", "mp4", is_vfr=True, b_frames=3),
        Source("prores", "mov", rotation_deg=90, has_audio=True),
        Source("mjpeg", "mkv", is_vfr=True, num_streams=2),
    ]


def full_matrix() -> list[Source]:
    """Every codec, container, rate and kind of group; start, turn, streams and audio all off or each on alone."""
    found = []
    for codec, containers in CONTAINERS.items():
        kinds = [(is_vfr, *group) for is_vfr in (False, True) for group in _groups(codec)]
        for container, (is_vfr, is_open, b_frames) in ((one, kind) for one in containers for kind in kinds):
            if is_vfr and not {container, codec}.isdisjoint(_CONSTANT_ONLY):
                continue
            plain = Source(codec, container, is_vfr, is_open, b_frames)
            found += [plain, *_extras(plain)] if b_frames or codec not in ("h264", "hevc", "mpeg2") else [plain]
    return found


def draw(source: Source, folder: Path) -> Path:
    """The file of a source, made once."""
    path = folder / f"{source.name}.{source.container}"
    if not path.exists():
        command = [ffmpeg_path(), "-nostdin", "-v", "error", "-y", *_inputs(source), *_outputs(source), str(path)]
        subprocess.run(command, check=True, capture_output=True, text=True)
    return path


def clicks(time_T: np.ndarray) -> np.ndarray:
    """The sound of every source that has one, at times in seconds from its first frame."""
    number = np.floor(time_T / CLICK_S)
    sound = 0.8 * np.sin(2 * np.pi * (500 + 200 * number) * time_T)
    return np.where((time_T >= 0) & (time_T % CLICK_S < 0.01), sound, 0.0)


def _groups(codec: str) -> Sequence[tuple[bool, int]]:
    """(is_open, b_frames) that an encoder can make."""
    if codec in ("h264", "hevc", "mpeg2"):
        return ((False, 0), (False, 3), (True, 3))
    if codec == "mpeg4":
        return ((False, 0), (False, 3))
    return ((False, 0), (True, 0)) if codec in ("vp9", "av1") else ((False, 0),)


def _extras(plain: Source) -> list[Source]:
    from dataclasses import replace

    found = [replace(plain, has_audio=True)]
    if plain.container not in ("avi", "flv"):
        found.append(replace(plain, start_s=LATE_START_S))
    if plain.container in _TURNS:
        found.append(replace(plain, rotation_deg=90))
    if plain.container not in ("avi", "flv", "mpg"):
        found.append(replace(plain, num_streams=2))
    return found


def _inputs(source: Source) -> list[str]:
    turn = ["-display_rotation", str(source.rotation_deg), "-noautorotate"] if source.rotation_deg else []
    inputs = [*turn, "-f", "lavfi", "-i", _SHOTS]
    if source.num_streams > 1:  # another picture and fewer frames
        inputs = ["-f", "lavfi", "-i", f"mandelbrot=s=96x64:r={RATE}", *inputs]
    return [*inputs, *(("-f", "lavfi", "-i", CLICKS) if source.has_audio else ())]


def _outputs(source: Source) -> list[str]:
    own = source.stream_index
    maps = [word for number in range(source.num_streams + source.has_audio) for word in ("-map", f"{number}:0")]
    options = [*maps, *_encoder(source), "-g", str(GOP_FRAMES), "-threads", "1"]
    options += ["-frames:v", str(NUM_FRAMES), f"-force_key_frames:v:{own}", f"expr:eq(n,{SHOT_ENDS[0]})"]
    if source.is_vfr:
        options += ["-fps_mode", "passthrough", f"-filter:v:{own}", _UNEVEN, f"-enc_time_base:v:{own}", "1:30000"]
    if source.has_audio:
        options += ["-c:a", _AUDIO.get(source.container, "aac"), "-b:a", "128k"]
    if source.start_s:
        options += ["-output_ts_offset", str(source.start_s)]
    return [*options, "-fflags", "+bitexact", "-flags:v", _flags(source)]


def _flags(source: Source) -> str:
    return "+bitexact" + ("+cgop" if source.codec in ("mpeg2", "mpeg4") and not source.is_open else "")


def _encoder(source: Source) -> list[str]:
    b_frames, is_open = str(source.b_frames), int(source.is_open)
    return {
        "h264": ["-c:v", "libx264", "-bf", b_frames, "-crf", "18", "-x264-params", f"open-gop={is_open}:scenecut=0",
                 "-pix_fmt", "yuv420p"],
        "hevc": ["-c:v", "libx265", "-preset", "ultrafast", "-bf", b_frames, "-crf", "18", "-x265-params",
                 f"log-level=none:open-gop={is_open}:scenecut=0:pools=none:frame-threads=1", "-pix_fmt", "yuv420p",
                 *(() if source.container in ("mkv", "ts") else ("-tag:v", "hvc1"))],
        "vp9": ["-c:v", "libvpx-vp9", "-b:v", "0", "-crf", "20", "-deadline", "good", "-cpu-used", "8",
                *(("-auto-alt-ref", "1", "-lag-in-frames", "16") if is_open else ("-auto-alt-ref", "0"))],
        "av1": ["-c:v", "libsvtav1", "-preset", "11", "-crf", "20",
                "-svtav1-params", "pred-struct=2" if is_open else "pred-struct=1"],
        "mpeg2": ["-c:v", "mpeg2video", "-bf", b_frames, "-q:v", "2", "-sc_threshold", "1000000000"],
        "mpeg4": ["-c:v", "mpeg4", "-bf", b_frames, "-q:v", "2", "-sc_threshold", "1000000000"],
        "prores": ["-c:v", "prores_ks", "-profile:v", "1"],
        "mjpeg": ["-c:v", "mjpeg", "-q:v", "2", "-pix_fmt", "yuvj420p"],
    }[source.codec]  # fmt: skip
