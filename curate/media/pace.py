"""Whether a coarse pass pays: how much of a video may be left undecoded before the rest must be fetched anyway.

Frames that no other frame refers to can be left out and decoded later, at the price of decoding what they refer to once
more from the key frame before. Where boundaries may lie everywhere (fast, restless pictures) that price is higher than
the gain, so the pace is set from group to group of pictures by what the last ones would have cost.
"""

from collections import deque
from typing import TYPE_CHECKING, Literal

import numpy as np

from curate.media.timeline import Timeline
from curate.scenes.limits import CutsConfig
from curate.scenes.suspects import suspects

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.stream import VideoStream

Skip = Literal["DEFAULT", "NONREF"]
FULL: Skip = "DEFAULT"
COARSE: Skip = "NONREF"
# Of FFmpeg's decoders those that obey `skip_frame` from packet to packet: VP9's never does, dav1d reads it once at its
# start.
_CODECS = ("h264", "hevc", "mpeg1video", "mpeg2video", "mpeg4")
_MAX_SUSPECTS = 3  # in a group; with more, decoding it twice costs more than its frames in one go
_MEMORY = 0.7  # of what the groups before have shown
_LEVEL = 1.1  # a step stands out if it changes by so many times the mean of those around
_FILL_FRAMES = 6  # decoded around a suspect


def can_skip(stream: "VideoStream") -> bool:
    """Whether the stream's decoder can leave out frames that no other refers to."""
    return stream.codec_context.codec.name in _CODECS


class Pace:
    """Says for each packet how it is to be decoded, and learns from each frame seen."""

    def __init__(self, timeline: Timeline) -> None:
        self._pts_T = timeline.pts_T
        self._cuts = CutsConfig()
        self._steps: deque[tuple[int, float]] = deque(maxlen=2 * self._cuts.window_frames + 2)
        self._first_key_pts: int | None = None
        self._gain = 0.0  # frames that coarse decoding of the last groups would have saved
        self._share = 0.5  # of packets that are decoded in a coarse pass
        self._num_packets = self._num_frames = self._num_suspects = self._reach = 0
        self._is_coarse = True

    def skip_for(self, packet: "Packet") -> Skip:
        """FFmpeg's `skip_frame` for the next packet."""
        if packet.is_keyframe:
            self._next_group(packet)
        self._num_packets += 1
        # Frames shown before the first key frame may lack what they refer to: whether they decode must be seen.
        is_leading = self._first_key_pts is None or packet.pts is None or packet.pts < self._first_key_pts
        return FULL if is_leading or not self._is_coarse or self._num_suspects >= _MAX_SUSPECTS else COARSE

    def saw(self, pts: int, change: float) -> None:
        """Take note of a frame that was decoded, and of its change against the one before."""
        self._num_frames += 1
        self._steps.append((int(np.searchsorted(self._pts_T, pts)), change))
        middle = len(self._steps) // 2
        if not self._stands_out(middle):
            return
        index_S, change_S = (np.array(values) for values in zip(*self._steps, strict=True))
        is_suspect = middle in suspects(change_S, index_S, self._cuts)
        if is_suspect and not (self._is_coarse and np.diff(index_S).max() == 1):
            self._num_suspects += 1
            self._reach = self._num_packets

    def _stands_out(self, at: int) -> bool:
        """Whether a step is worth a closer look: strong, and of short ones only those stronger than the ones around."""
        if at == 0 or self._steps[at][1] * 2 < self._cuts.min_content_levels:
            return False
        frames, change = self._steps[-1][0] - self._steps[0][0], sum(change for _, change in self._steps)
        gap = self._steps[at][0] - self._steps[at - 1][0]
        return gap > 2 or self._steps[at][1] / gap > _LEVEL * change / frames

    def _next_group(self, packet: "Packet") -> None:
        """What the group that ends here has cost or would have, and so how the next one is decoded."""
        if self._first_key_pts is None:
            self._first_key_pts = packet.pts
        if not self._num_packets:
            return
        if self._is_coarse and self._num_suspects < _MAX_SUSPECTS:
            self._share = _MEMORY * self._share + (1 - _MEMORY) * min(self._num_frames / self._num_packets, 1.0)
        again = self._share * self._reach + _FILL_FRAMES * self._num_suspects
        saved = self._num_packets * (1 - self._share) - min(again, self._num_packets)
        self._gain = _MEMORY * self._gain + (1 - _MEMORY) * saved
        if self._num_suspects >= _MAX_SUSPECTS:
            self._gain = -2.0 * self._num_packets  # a full pass hides how restless it is, so it lasts some groups
        self._is_coarse = self._gain >= 0
        self._num_packets = self._num_frames = self._num_suspects = self._reach = 0
