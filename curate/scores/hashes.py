"""Fingerprints of a clip: one is equal for equal frames only, the perceptual ones are close for like pictures."""

from collections.abc import Mapping
from fractions import Fraction

import cv2
import numpy as np
import pyarrow as pa
import xxhash

from curate.scan import Span
from curate.stage import Clip, SpanStage
from shards.errors import ClipTooShort
from shards.schema import column


def perceptual_hash(grey_HW: np.ndarray) -> str:
    """64 bits of a picture as 16 hex digits: signs of its 8x8 lowest cosine frequencies about their median.

    Source: Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010, section 3.2.1.

    Args:
        grey_HW: uint8 luma.
    """
    small_HW = cv2.resize(grey_HW, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
    low_HW = cv2.dct(small_HW)[:8, :8]
    return np.packbits(low_HW > np.median(low_HW)).tobytes().hex()


def hamming(first: str, second: str) -> int:
    """Number of bits in which two perceptual hashes differ: 0 for the same picture, about 32 for unrelated ones."""
    return (int(first, 16) ^ int(second, 16)).bit_count()


def frames_xxh3(i420_THW: np.ndarray, pts_T: np.ndarray, time_base: Fraction) -> str:
    """xxh3_64 over size, times since the first frame (nanoseconds) and pixels of all frames, 16 hex digits.

    Equal for the same frames at the same pace, in whatever file, container or place.

    Args:
        i420_THW: uint8 small frames.
        pts_T: presentation time of each frame.
        time_base: seconds per pts.
    """
    ticks = Fraction(10**9) * time_base
    times_ns = [round(int(pts - pts_T[0]) * ticks) for pts in pts_T]
    state = xxhash.xxh3_64(repr((i420_THW.shape, times_ns)).encode())
    state.update(np.ascontiguousarray(i420_THW).data)
    return state.hexdigest()


class Hashes(SpanStage):
    """Fingerprints of a clip, from its small frames."""

    name, version = "hashes", 1
    adds = pa.schema(
        [
            column("frames_xxh3", pa.string(), "", "xxh3_64 of all small frames and times: same for same content."),
            column("phash_first", pa.string(), "", "Perceptual hash of the first frame, 64 bits."),
            column("phash_mid", pa.string(), "", "Perceptual hash of the frame in the middle, 64 bits."),
            column("phash_last", pa.string(), "", "Perceptual hash of the last frame, 64 bits."),
        ]
    )

    def score(self, clip: Clip, span: Span) -> Mapping[str, object]:
        """Values of one clip; ClipTooShort if it has no frame."""
        if not len(span):
            raise ClipTooShort("clip has 0 frames; hashes need 1; raise scenes.min_clip_s")
        first, mid, last = (perceptual_hash(span.grey_THW[at]) for at in (0, len(span) // 2, -1))
        return {
            "frames_xxh3": frames_xxh3(span.i420_THW, span.pts_T, span.time_base),
            "phash_first": first,
            "phash_mid": mid,
            "phash_last": last,
        }
