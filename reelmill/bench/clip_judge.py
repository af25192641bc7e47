"""Which frames a clip really shows, judged against its source by pixels (T = frames, N = source frames, P = bytes).

The witness is the ffmpeg binary, decoding source and clip from their start to 8-bit 4:2:0, upright. Where a clip's
pixels are not the source's, a frame is taken for the source frame that it resembles most.
"""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from curate.media.opening import ffmpeg_path
from curate.media.timeline import exact_time_base, read_timeline

MIN_PSNR_DB = 35.0


@dataclass(frozen=True)
class Truth:
    """A source as independent decoders see it.

    Attributes:
        path, stream_index: the stream that is cut.
        time_base: seconds per pts.
        pts_N: of each frame, increasing.
        end_pts: past the last frame.
        key_pts: of key packets, increasing.
        yuv_NP: uint8, pixels of each frame.
    """

    path: Path
    stream_index: int
    time_base: Fraction
    pts_N: Sequence[int]
    end_pts: int
    key_pts: Sequence[int]
    yuv_NP: np.ndarray

    def span(self, first: int, last: int) -> tuple[int, int]:
        """(start_pts, end_pts) of the frames [first, last)."""
        return self.pts_N[first], self.pts_N[last] if last < len(self.pts_N) else self.end_pts


@dataclass(frozen=True)
class Verdict:
    """What a clip shows, against the frames [first, last) that were planned.

    Attributes:
        shown: number of the source frame that each shown frame resembles most.
        is_identical: these frames, each equal to the source's in every pixel.
        worst_psnr_db: of the shown frames against the planned ones, if there are as many; infinite if identical.
        is_planned: exactly the planned frames in their order, whatever their quality.
    """

    shown: Sequence[int]
    is_identical: bool
    worst_psnr_db: float
    is_planned: bool

    @property
    def is_exact(self) -> bool:
        """The planned frames, equal or nearly."""
        return self.is_identical or (self.is_planned and self.worst_psnr_db >= MIN_PSNR_DB)

    def describe(self) -> str:
        """What is shown, as stretches of source frames: `0-29 65-66`."""
        starts = [at for at, number in enumerate(self.shown) if at == 0 or number != self.shown[at - 1] + 1]
        ends = [*starts[1:], len(self.shown)] if starts else []
        runs = [(self.shown[start], self.shown[end - 1]) for start, end in zip(starts, ends, strict=True)]
        text = " ".join(f"{first}-{last}" if first != last else f"{first}" for first, last in runs[:6])
        return f"{len(self.shown)} frames: {text}{' …' if len(runs) > 6 else ''}"


def read_truth(path: Path, stream_index: int) -> Truth:
    """Demux a source by PyAV, decode it by ffmpeg."""
    with av.open(str(path)) as container:
        stream = next(one for one in container.streams.video if one.index == stream_index)
        time_base = exact_time_base(stream)
        keys: list[int] = []

        def note_key(packet: av.Packet, _: int) -> None:
            if packet.is_keyframe and packet.pts is not None:
                keys.append(packet.pts)

        timeline = read_timeline(container, stream, note_key)
        size = stream.width * stream.height
    yuv_NP = decoded(path, size, stream_index)
    return Truth(path, stream_index, time_base, timeline.pts_T.tolist(), timeline.end_pts, sorted(keys), yuv_NP)


def decoded(path: Path, num_pixels: int, stream_index: int = 0) -> np.ndarray:
    """All frames that ffmpeg presents, as 4:2:0: uint8 (T, P).

    Args:
        path: a video file.
        num_pixels: of a picture.
        stream_index: which stream.
    """
    command = [ffmpeg_path(), "-nostdin", "-v", "error", "-i", str(path), "-map", f"0:{stream_index}"]
    output = ["-fps_mode", "passthrough", "-pix_fmt", "yuv420p", "-f", "rawvideo", "-"]
    raw = subprocess.run([*command, *output], capture_output=True, check=False).stdout
    frame_bytes = num_pixels * 3 // 2
    return np.frombuffer(raw[: len(raw) // frame_bytes * frame_bytes], np.uint8).reshape(-1, frame_bytes)


def judge(clip: Path, truth: Truth, first: int, last: int) -> Verdict:
    """Compare a clip with the frames [first, last) of its source."""
    shown_TP, wanted_TP = decoded(clip, truth.yuv_NP.shape[1] * 2 // 3), truth.yuv_NP[first:last]
    if shown_TP.shape == wanted_TP.shape and (shown_TP == wanted_TP).all():
        return Verdict(range(first, last), True, float("inf"), True)
    shown = _nearest(shown_TP, truth.yuv_NP)
    is_planned = shown == list(range(first, last))
    return Verdict(shown, False, psnr_db(shown_TP, wanted_TP) if is_planned else 0.0, is_planned)


def psnr_db(one_TP: np.ndarray, other_TP: np.ndarray) -> float:
    """Of the worst frame, over all planes."""
    error_T = ((one_TP.astype(np.float32) - other_TP) ** 2).mean(axis=1)
    return float(10 * np.log10(255**2 / max(error_T.max(), 1e-9)))


def _nearest(shown_TP: np.ndarray, source_NP: np.ndarray) -> list[int]:
    """Source frame with the least squared difference, for each shown frame."""
    shown, source = shown_TP.astype(np.float32), source_NP.astype(np.float32)
    distance_TN = (source**2).sum(axis=1)[None] - 2 * shown @ source.T
    return distance_TN.argmin(axis=1).tolist()
