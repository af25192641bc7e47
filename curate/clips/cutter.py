"""The cut of one clip inside the safe child: copy if that is exact, else encode, and decode the result either way."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.clips.copy import copy_clip
from curate.clips.encode import encode_clip
from curate.clips.packets import span_pts
from curate.clips.verify import Presented, check_presented, check_same_frames, decode_clip
from curate.media.opening import error_code
from shards.errors import ClipError, MediaError

if TYPE_CHECKING:
    from curate.clips.cut import CutConfig


@dataclass(frozen=True)
class Cut:
    """What to cut, as the child sees it.

    Attributes:
        source: the source file.
        stream_index: its video stream.
        start_pts, end_pts: half-open span in the stream's time base.
        num_frames: frames in it, as the scan saw them.
        time_base: of the stream.
        out: the MP4 to write.
    """

    source: Path
    stream_index: int
    start_pts: int
    end_pts: int
    num_frames: int
    time_base: Fraction
    out: Path


@dataclass
class Cutter:
    """Cuts one clip; counts what it decodes to verify."""

    cut: Cut
    config: "CutConfig"
    size_hw: Sequence[int] | None
    decoded_frames: int = 0

    def run(self) -> dict[str, Any]:
        """Copy if asked for and exact, else encode."""
        if self.config.mode == "encode":
            return self._result(self._encode(), "encode", None)
        try:
            return self._result(self._copy(), "copy", None)
        except Exception as refusal:  # a library's complaint about odd bytes is as good a reason as our own
            code = refusal.code if isinstance(refusal, ClipError) else error_code(refusal)
            if code is None:
                raise
        return self._result(self._encode(), "encode", code)

    def _copy(self) -> Presented:
        cut = self.cut
        span = (cut.source, cut.stream_index, cut.start_pts, cut.end_pts)
        plan = copy_clip(*span, cut.out, self.config.max_preroll)
        presented = self._verified(plan.frame_pts)
        if self.config.verify == "frames":
            self.decoded_frames += check_same_frames(cut.out, *span)
        return presented

    def _encode(self) -> Presented:
        """Decoding begins near the span, and at the file's start if that did not give the planned frames."""
        planned_pts = self._planned_pts()
        for from_file_start in (False, True):
            try:
                self._encode_once(from_file_start)
                return self._verified(planned_pts)
            except ClipError as error:
                refusal = error
        raise MediaError(f"neither copied nor encoded frames are the planned ones; {refusal}", "cut_not_exact")

    def _encode_once(self, from_file_start: bool) -> None:
        cut = self.cut
        span = (cut.start_pts, cut.end_pts)
        size_hw = (self.size_hw[0], self.size_hw[1]) if self.size_hw else None
        encode_clip(
            *(cut.source, cut.stream_index, span, cut.time_base, cut.out, self.config.encode, size_hw),
            from_file_start=from_file_start,
        )

    def _planned_pts(self) -> list[int] | None:
        """Times in the clip file, if the container tells them for exactly the planned frames."""
        cut = self.cut
        pts = span_pts(cut.source, cut.stream_index, cut.start_pts, cut.end_pts)
        return [(one - pts[0]) * cut.time_base.numerator for one in pts] if len(pts) == cut.num_frames else None

    def _verified(self, planned_pts: Sequence[int] | None) -> Presented:
        presented = decode_clip(self.cut.out)
        self.decoded_frames += presented.decoded_frames
        check_presented(presented, self.cut.num_frames, planned_pts)
        return presented

    def _result(self, presented: Presented, mode: str, fallback: str | None) -> dict[str, Any]:
        num_frames = len(presented.frame_pts)
        counts = {"num_frames": num_frames, "encoded_frames": num_frames if mode == "encode" else 0}
        values = presented.as_json() | counts | {"decoded_frames": self.decoded_frames}
        del values["corrupt_frames"]
        return {"mode": mode, "fallback": fallback} | values
