"""Early scores of a video from a few key frames, decoded in the pass that demuxes it: a gate for whole videos."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
from av.error import FFmpegError

from curate.media.opening import refuse_lack_of_memory
from curate.media.planes import planes_of, shrink

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_SMALL_SIZE_PX = (64, 36)


class KeyPackets:
    """Keeps a bounded, evenly spaced choice of a stream's key packets while the stream goes by.

    Whenever twice `num_kept` are held, every other one is let go and only every other one is taken from then on.
    """

    def __init__(self, num_kept: int) -> None:
        self.num_kept = num_kept
        self._stride = 1
        self._num_seen = 0
        self._packets: list[Packet] = []

    def offer(self, packet: "Packet", _: int = 0) -> None:
        """See one packet of the stream."""
        if not packet.is_keyframe:
            return
        if self._num_seen % self._stride == 0:
            self._packets.append(packet)
        self._num_seen += 1
        if len(self._packets) == 2 * self.num_kept:
            del self._packets[1::2]
            self._stride *= 2

    def choose(self, num: int) -> list["Packet"]:
        """At most `num` of them, evenly spaced."""
        num = min(num, len(self._packets))
        picks = [(2 * index + 1) * len(self._packets) // (2 * num) for index in range(num)]
        return [self._packets[pick] for pick in picks]


def num_key_frames(num_packets: int, max_frames: int, max_share: float) -> int:
    """How many key frames may be decoded: at most so many, at most a share of the packets, at least one."""
    return max(1, min(max_frames, int(num_packets * max_share)))


def decode_alone(stream: "VideoStream", packets: Sequence["Packet"]) -> list["VideoFrame"]:
    """Decode each packet as if it were the whole stream; those that do not decode alone give nothing."""
    frames: list[VideoFrame] = []
    context = stream.codec_context
    for packet in packets:
        try:
            frames += [*context.decode(packet), *context.decode(None)]
        except FFmpegError as error:
            refuse_lack_of_memory(error)
        finally:
            if context.is_open:
                context.flush_buffers()
    return frames


def key_scores(frames: Sequence["VideoFrame"]) -> dict[str, float | None]:
    """The columns key_luma_mean, key_luma_std and key_change of VIDEO; null where too few frames decoded."""
    if not frames:
        return {"key_luma_mean": None, "key_luma_std": None, "key_change": None}
    luma_THW = np.stack([_small_luma(frame) for frame in frames]).astype(np.float32)
    steps_T = np.abs(np.diff(luma_THW, axis=0)).mean(axis=(1, 2))
    return {
        "key_luma_mean": float(luma_THW.mean()),
        "key_luma_std": float(luma_THW.std(axis=(1, 2)).max()),
        "key_change": float(steps_T.max()) if len(steps_T) else None,
    }


def _small_luma(frame: "VideoFrame") -> np.ndarray:
    cv2.setNumThreads(1)
    planes = planes_of(frame)
    width, height = _SMALL_SIZE_PX
    small_HW = np.empty((height, width), np.uint8)
    shrink(planes.yuv[0], planes.num_bits, small_HW)
    return small_HW
