"""Frames that a coarse pass left out, decoded after all: from the key frame before, and nothing else in full."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from av.error import FFmpegError

from curate.media.opening import media_errors, open_video, refuse_lack_of_memory
from curate.media.pace import COARSE, FULL
from curate.media.planes import SmallFrames, planes_of
from curate.media.probe import prepare_decoder
from curate.media.scan_op import stream_of
from curate.media.timeline import packets
from curate.scenes.features import FeatureMeter

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream


def fill_op(
    path: str,
    stream_index: int,
    rotation_deg: int,
    small_size: tuple[int, int],
    skip_loop_filter: str,
    num_threads: int,
    spans: Sequence[tuple[int, int]],
    out: str,
) -> dict[str, Any]:
    """Decode every frame within spans of pts.

    Args:
        path: a local file that was scanned.
        stream_index: of the stream in the container.
        rotation_deg: as for the scan.
        small_size: as for the scan.
        skip_loop_filter: as for the scan.
        num_threads: of the decoder.
        spans: first and last pts of each, inclusive; disjoint and in order.
        out: prefix of the scan's files: frames that its .npz does not know are added to .i420; .fill.npz is written.

    Returns:
        decoded_frames: those that were only decoded because others refer to them count as well.
    """
    cv2.setNumThreads(1)
    with np.load(f"{out}.npz", allow_pickle=False) as arrays:
        known = set(arrays["pts_T"].tolist())
    if Path(f"{out}.filled.npy").is_file():
        known |= set(np.load(f"{out}.filled.npy", allow_pickle=False).tolist())
    starts, ends = np.array(spans, np.int64).T
    small, meter = SmallFrames(*small_size, rotation_deg), FeatureMeter()
    pts_F: list[int] = []
    is_first: list[bool] = []
    num_decoded, last_span = 0, -1
    with media_errors(path), Path(f"{out}.i420").open("r+b", 1 << 20) as small_file:
        small_file.seek(len(known) * small_size[0] * small_size[1] * 3 // 2)
        small_file.truncate()  # what a child wrote that died before it was done
        with open_video(path, decode_head=False) as container:
            plan = _Plan.of(container, stream_of(container, stream_index), starts, ends)
        with open_video(path, decode_head=False) as container:
            stream = stream_of(container, stream_index)
            prepare_decoder(stream, skip_loop_filter=skip_loop_filter, num_threads=num_threads)
            for frame in _decoded(container, stream, plan):
                num_decoded += 1
                span = int(np.searchsorted(starts, -1 if frame.pts is None else frame.pts, side="right")) - 1
                if frame.pts is None or span < 0 or frame.pts > ends[span] or (pts_F and frame.pts <= pts_F[-1]):
                    continue
                if span != last_span:
                    meter.restart()
                is_first.append(span != last_span)
                last_span = span
                picture = small.make(planes_of(frame))
                if frame.pts not in known:
                    small_file.write(picture.data)
                meter.see(small.as_picture(picture))
                pts_F.append(frame.pts)
    given = {"pts_T": np.array(pts_F, np.int64), "is_first": np.array(is_first, bool)}
    arrays: dict[str, Any] = given | meter.features().as_arrays()
    np.savez(f"{out}.fill.npz", **arrays)
    np.save(f"{out}.filled.npy", np.array(sorted(known | set(pts_F)), np.int64))
    return {"decoded_frames": num_decoded}


class _Plan:
    """Per packet, in the order of decoding: whether it is wanted, and whether another is that needs it."""

    def __init__(self, wanted: np.ndarray, needed: np.ndarray) -> None:
        self.wanted, self.needed = wanted, needed

    @classmethod
    def of(cls, container: "InputContainer", stream: "VideoStream", starts: np.ndarray, ends: np.ndarray) -> "_Plan":
        """Read the packets: a frame needs all from the last key frame that is shown no later than itself."""
        pts: list[int] = []
        keys: list[int] = []
        for packet in packets(container, stream, _ignore):
            if packet.is_keyframe:
                keys.append(len(pts))
            pts.append(-1 << 62 if packet.pts is None else packet.pts)
        pts_D = np.array(pts, np.int64)
        span_D = np.searchsorted(starts, pts_D, side="right") - 1
        wanted = (span_D >= 0) & (pts_D <= ends[span_D])
        edges = np.zeros(len(pts) + 1, np.int64)
        for index in np.flatnonzero(wanted).tolist():
            before = int(np.searchsorted(keys, index, side="right")) - 1
            while before > 0 and pts[keys[before]] > pts[index]:
                before -= 1
            edges[keys[before] if before >= 0 else 0] += 1
            edges[index + 1] -= 1
        return cls(wanted, np.cumsum(edges)[:-1] > 0)


def _decoded(container: "InputContainer", stream: "VideoStream", plan: _Plan) -> "Iterator[VideoFrame]":
    """Frames of the packets that are needed; of those, the ones not wanted only as far as others refer to them."""
    context = stream.codec_context
    is_running = False
    for index, packet in enumerate(packets(container, stream, _ignore)):
        if not plan.needed[index]:
            if is_running:
                yield from _drained(stream)
                is_running = False
            continue
        is_running = True
        skip = FULL if plan.wanted[index] else COARSE
        if context.skip_frame != skip:
            context.skip_frame = skip
        try:
            yield from context.decode(packet)
        except FFmpegError as error:  # the frame is missed by who asked for it
            refuse_lack_of_memory(error)
    if is_running:
        yield from _drained(stream)


def _drained(stream: "VideoStream") -> "Iterator[VideoFrame]":
    context = stream.codec_context
    try:
        yield from context.decode(None)
    except FFmpegError as error:
        refuse_lack_of_memory(error)
    finally:
        if context.is_open:
            context.flush_buffers()


def _ignore(_: str) -> None:
    """Reading ends where it ended for the timeline."""
