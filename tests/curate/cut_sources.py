"""Sources for cutting: one moving picture in each codec, structure and container that a copy must carry exactly."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av

from curate.media.timeline import exact_time_base, read_timeline
from tests.curate.videos import ffmpeg

NUM_FRAMES = 100
_X264 = ("-c:v", "libx264", "-bf", "3", "-g", "30", "-threads", "1", "-pix_fmt", "yuv420p")
_X265 = ("-c:v", "libx265", "-g", "30", "-preset", "ultrafast", "-bf", "3", "-pix_fmt", "yuv420p")
_VFR = ("-vf", "settb=1/90000,setpts=(N+0.2*mod(N\\,5))/25/TB", "-fps_mode", "passthrough", "-enc_time_base", "1:90000")

# name: (file name, options of the encoder and muxer)
SOURCES = {
    "h264 with B-frames, closed groups": ("a.mp4", _X264),
    "h264, open groups": ("b.mkv", (*_X264, "-x264-params", "open-gop=1:scenecut=0")),
    "h264 in a transport stream that begins late": ("c.ts", (*_X264, "-r", "30000/1001", "-output_ts_offset", "7.3")),
    "h264 in flash video without an index": ("d.flv", _X264),
    "h264 at a variable rate": ("e.mp4", (*_X264, *_VFR)),
    "h264 at a time base of 1/30000": ("f.mov", (*_X264, "-r", "30000/1001")),
    "h264 refreshed without key frames": ("g.mkv", (*_X264, "-x264-params", "intra-refresh=1:bframes=0")),
    "hevc, open groups, in MP4": ("h.mp4", (*_X265, "-x265-params", "log-level=none:open-gop=1", "-tag:v", "hvc1")),
    "hevc in a transport stream": ("i.ts", (*_X265, "-x265-params", "log-level=none:open-gop=0")),
    "vp9": ("j.webm", ("-c:v", "libvpx-vp9", "-g", "30", "-deadline", "realtime", "-cpu-used", "8")),
    "av1": ("k.mkv", ("-c:v", "libaom-av1", "-g", "30", "-cpu-used", "8", "-usage", "realtime", "-row-mt", "0")),
}


@dataclass(frozen=True)
class Source:
    """A drawn source and what an independent decoder makes of it.

    Attributes:
        path: the file.
        time_base: seconds per pts.
        pts: time of each frame, in order.
        end_pts: past the last frame.
        key_pts: times of key packets.
        md5: of each frame's pixels, upright, by the ffmpeg binary, decoded from the file's start.
    """

    path: Path
    time_base: Fraction
    pts: list[int]
    end_pts: int
    key_pts: list[int]
    md5: list[str]

    def end_of(self, last: int) -> int:
        """Where a span ends that holds the frames before number `last`."""
        return self.pts[last] if last < len(self.pts) else self.end_pts


def draw(folder: Path, name: str) -> Source:
    """Encode a source once."""
    file_name, options = SOURCES[name]
    path = folder / file_name
    if not path.exists():
        picture = ("-f", "lavfi", "-i", "testsrc2=s=160x90:r=25")
        ffmpeg(*picture, "-frames:v", str(NUM_FRAMES), *options, "-fflags", "+bitexact", str(path))
    return read_source(path)


def read_source(path: Path) -> Source:
    """A file as PyAV's demuxer and the ffmpeg binary see it."""
    keys: list[int] = []

    def note_key(packet: av.Packet, _: int) -> None:
        if packet.is_keyframe and packet.pts is not None:
            keys.append(packet.pts)

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        timeline, time_base = read_timeline(container, stream, note_key), exact_time_base(stream)
    return Source(path, time_base, timeline.pts_T.tolist(), timeline.end_pts, keys, framemd5(path))


def framemd5(path: Path) -> list[str]:
    """Md5 of each presented frame, by the ffmpeg binary."""
    rate_as_it_is = ("-fps_mode", "passthrough", "-enc_time_base", "demux")
    lines = ffmpeg("-i", str(path), "-map", "0:v:0", *rate_as_it_is, "-f", "framemd5", "-").splitlines()
    return [line.split(",")[-1].strip() for line in lines if not line.startswith("#")]
