"""The cut of one clip inside the safe child: copy if that is exact, else encode, and decode the result either way."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.clips.audio import audio_stream, check_in_step, encode_audio
from curate.clips.copy import copy_clip
from curate.clips.encode import Target, encode_clip, picked
from curate.clips.packets import span_pts
from curate.clips.verify import (
    Compared,
    Presented,
    check_presented,
    check_same_frames,
    decode_clip,
    digest_frames,
    source_frames,
)
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
    """

    source: Path
    stream_index: int
    start_pts: int
    end_pts: int
    num_frames: int
    time_base: Fraction

    @property
    def duration_s(self) -> Fraction:
        """Of the span."""
        return (self.end_pts - self.start_pts) * self.time_base


@dataclass
class Cutter:
    """Cuts one clip to one file, or to several if it is encoded; counts what it decodes to verify."""

    cut: Cut
    config: "CutConfig"
    targets: Sequence[Target]
    decoded_frames: int = 0
    digests: dict[Path, int] = field(default_factory=dict)

    def run(self) -> list[dict[str, Any]]:
        """Copy if asked for and exact, else encode; what is known of each target."""
        if self.config.mode == "encode":
            return self._results(self._encode(), "encode", None)
        try:
            return self._results([self._copy()], "copy", None)
        except Exception as refusal:  # a library's complaint about odd bytes is as good a reason as our own
            code = refusal.code if isinstance(refusal, ClipError) else error_code(refusal)
            if code is None:
                raise
        return self._results(self._encode(), "encode", code)

    def _copy(self) -> Presented:
        cut, out = self.cut, self.targets[0].out
        span = (cut.source, cut.stream_index, cut.start_pts, cut.end_pts)
        sound_path = out.with_suffix(".sound.mp4")
        try:
            sound = None
            if self._audio_index is not None:
                start_s = cut.start_pts * cut.time_base
                sound = encode_audio(cut.source, self._audio_index, start_s, cut.duration_s, sound_path)
            plan = copy_clip(*span, out, self.config.max_preroll, sound)
        finally:
            sound_path.unlink(missing_ok=True)
        presented = self._verified(out, cut.num_frames, plan.frame_pts)
        if self.config.verify == "frames":
            self._note(out, check_same_frames(out, *span))
        return presented

    def _encode(self) -> list[Presented]:
        """Decoding begins near the span, and at the file's start if that did not give the planned frames."""
        planned_pts = self._planned_pts()
        try:
            presented = self._encode_verified(planned_pts, from_file_start=False)
        except ClipError:
            try:
                presented = self._encode_verified(planned_pts, from_file_start=True)
            except ClipError as refusal:
                what = f"neither copied nor encoded frames are the planned ones; {refusal}"
                raise MediaError(what, "cut_not_exact") from refusal
        for target in self.targets if self.config.verify == "frames" else ():
            self._note(target.out, digest_frames(target.out))
        return presented

    def _encode_verified(self, planned_pts: Sequence[int] | None, *, from_file_start: bool) -> list[Presented]:
        cut = self.cut
        encode_clip(
            *(cut.source, cut.stream_index, (cut.start_pts, cut.end_pts), cut.time_base, self.targets),
            audio_index=self._audio_index,
            from_file_start=from_file_start,
        )
        return [self._verified_target(target, planned_pts) for target in self.targets]

    @cached_property
    def _audio_index(self) -> int | None:
        return audio_stream(self.cut.source) if self.config.audio == "keep" else None

    def _planned_pts(self) -> list[int] | None:
        """Times from the span's start, if the container tells them for exactly the planned frames.

        Where frames are picked by time, they are read from the frames then.
        """
        cut = self.cut
        span = (cut.source, cut.stream_index, cut.start_pts, cut.end_pts)
        pts = span_pts(*span)
        if len(pts) != cut.num_frames:
            if all(target.config.rate is None for target in self.targets):
                return None
            pts = [frame.pts for frame in source_frames(*span) if frame.pts is not None]
            self.decoded_frames += len(pts)
        return [one - pts[0] for one in pts]

    def _verified_target(self, target: Target, planned_pts: Sequence[int] | None) -> Presented:
        if planned_pts is None:
            return self._verified(target.out, self.cut.num_frames, None)
        pts = picked(planned_pts, self.cut.time_base, target.config)
        times = [one * self.cut.time_base.numerator for one in pts]
        return self._verified(target.out, len(times) if target.config.rate else self.cut.num_frames, times)

    def _note(self, out: Path, compared: Compared) -> None:
        self.decoded_frames += compared.decoded_frames
        self.digests[out] = compared.decoded_digest

    def _verified(self, out: Path, num_frames: int, planned_pts: Sequence[int] | None) -> Presented:
        presented = decode_clip(out)
        self.decoded_frames += presented.decoded_frames
        check_presented(presented, num_frames, planned_pts)
        if self._audio_index is not None:
            check_in_step(out, self.cut.duration_s)
        return presented

    def _results(self, presented: Sequence[Presented], mode: str, fallback: str | None) -> list[dict[str, Any]]:
        """What is decoded to verify is counted once, with the first."""
        found = [self._result(one, mode, fallback) for one in presented]
        digests = [self.digests.get(target.out) for target in self.targets]
        found = [one | {"decoded_digest": digest} for one, digest in zip(found, digests, strict=True)]
        return [one | {"decoded_frames": 0 if index else self.decoded_frames} for index, one in enumerate(found)]

    def _result(self, presented: Presented, mode: str, fallback: str | None) -> dict[str, Any]:
        num_frames = len(presented.frame_pts)
        counts = {"num_frames": num_frames, "encoded_frames": num_frames if mode == "encode" else 0}
        values = presented.as_json() | counts
        del values["corrupt_frames"]
        return {"mode": mode, "fallback": fallback} | values
