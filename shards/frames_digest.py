"""A digest of decoded frames: the same wherever a clip is decoded to the same pictures, whatever its bytes are.

H.264, HEVC, VP9 and AV1 define every decoded sample, so the digest does not depend on the decoder or its version.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from shards.errors import ClipError

if TYPE_CHECKING:
    from av import VideoFrame


def frame_hash(frame: "VideoFrame") -> int:
    """XXH3_64 over the visible samples of all planes of a frame whose format has one component per plane.

    Planes follow one another, each line by line without padding; samples above 8 bits are two bytes, little-endian.

    Raises:
        ClipError: the format packs components together.
    """
    from xxhash import xxh3_64

    if len(frame.planes) != len(frame.format.components):
        raise ClipError(f"pixel format is {frame.format.name}; planar ones can be compared; set cut.verify to count")
    hasher = xxh3_64()
    for plane, component in zip(frame.planes, frame.format.components, strict=True):
        row_bytes = plane.width * -(-component.bits // 8)
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        hasher.update(rows[: plane.height, :row_bytes].tobytes())
    return hasher.intdigest()


def frames_digest(hashes: Iterable[int]) -> int:
    """XXH3_64 over the hashes of a clip's frames in order, each as 8 bytes, little-endian."""
    from xxhash import xxh3_64

    hasher = xxh3_64()
    for one in hashes:
        hasher.update(one.to_bytes(8, "little"))
    return hasher.intdigest()
