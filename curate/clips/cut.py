"""A kept span to clip bytes: copied packets by default, encoded frames by choice or where a copy would not be exact.

Either way the file is decoded before anyone sees it, and is refused unless it presents exactly the planned frames.
`cut_clip` is the worker's side; `cut_op` and `verify_op` run in the safe child.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, model_validator

from curate.clips.encode import EncodeConfig, upright_size
from shards.config import Config
from shards.schema import time_base

if TYPE_CHECKING:
    from curate.media.child import MediaChild


class CutConfig(Config):
    """How kept spans become clip files."""

    mode: Literal["copy", "encode"] = Field(
        default="copy",
        description="copy: the source's packets, encoded only where that is not exact; encode: always encoded.",
    )
    max_preroll: float = Field(
        default=1.0,
        ge=0,
        description="Hidden time before a copied clip, at most, in lengths of the clip; beyond it is encoded.",
    )
    verify: Literal["count", "frames"] = Field(
        default="count",
        description="Decode each clip for count and times; `frames` compares a copy's pictures with the source's too.",
    )
    audio: Literal["drop"] = Field(default="drop", description="Clips carry no audio.")
    encode: EncodeConfig = EncodeConfig()

    @model_validator(mode="after")
    def _resizes_only_what_it_encodes(self) -> Self:
        if self.mode == "copy" and self.encode.short_side_px is not None:
            raise ValueError(
                "encode.short_side_px is set; a copy keeps the source's size; set mode to encode, or unset it"
            )
        return self

    def output_size(self, video_row: Mapping[str, Any]) -> tuple[int, int]:
        """Displayed height and width in px of the clips of a video, both rounded down to even numbers."""
        return upright_size(video_row, self.encode.short_side_px)


@dataclass(frozen=True)
class CutResult:
    """A clip file that presents exactly the planned frames.

    Attributes:
        path: the MP4.
        mode: copy or encode.
        fallback: code of why it was not copied although that was asked for; None otherwise.
        num_frames: presented frames.
        encoded_frames: frames that were encoded: 0 or num_frames.
        decoded_frames: frames decoded to verify, those of a refused copy included.
        preroll_frames: hidden frames before the first presented one.
        frame_pts: time of each presented frame in the clip file, from 0 on.
        time_base_num, time_base_den: of the clip file.
        width, height: coded size in px.
        rotation_deg: counter-clockwise turn that shows the picture upright; 0 if encoded.
        sar_num, sar_den: sample aspect ratio.
        pix_fmt, codec, color_transfer: FFmpeg's names.
        size_bytes: of the file.
    """

    path: Path
    mode: str
    fallback: str | None
    num_frames: int
    encoded_frames: int
    decoded_frames: int
    preroll_frames: int
    frame_pts: Sequence[int]
    time_base_num: int
    time_base_den: int
    width: int
    height: int
    rotation_deg: int
    sar_num: int
    sar_den: int
    pix_fmt: str
    codec: str
    color_transfer: str
    size_bytes: int


def cut_clip(
    child: "MediaChild",
    source_path: Path,
    video_row: Mapping[str, Any],
    clip_row: dict[str, Any],
    out: Path,
    config: CutConfig,
) -> CutResult:
    """Cut one clip in the safe child.

    Args:
        child: where the bytes are opened.
        source_path: local path of the source.
        video_row: its row of VIDEO.
        clip_row: row of CLIP.
        out: the MP4 to write; it does not exist after an error.
        config: how to cut.

    Raises:
        MediaError: `cut_not_exact`, not even encoding gives exactly the planned frames; or what is wrong with the file.
    """
    result = child.call(
        "cut",
        source=str(source_path),
        stream_index=clip_row["stream_index"],
        start_pts=clip_row["start_pts"],
        end_pts=clip_row["end_pts"],
        num_frames=clip_row["num_frames"],
        time_base=str(time_base(clip_row)),
        size_hw=config.output_size(video_row) if config.encode.short_side_px else None,
        out=str(out.resolve()),
        config=config.resolved(),
    )
    return CutResult(path=out, color_transfer=video_row["color_transfer"], **result)


def cut_op(
    source: str, time_base: str, out: str, config: dict[str, Any], size_hw: Sequence[int] | None, **span: int
) -> dict[str, Any]:
    """Cut and verify one clip: `cut_clip` in the child.

    Returns:
        The fields of CutResult that the child knows.
    """
    from curate.clips.cutter import Cut, Cutter

    cut = Cut(source=Path(source), time_base=Fraction(time_base), out=Path(out), **span)
    try:
        return Cutter(cut, CutConfig.model_validate(config), size_hw).run()
    except BaseException:
        cut.out.unlink(missing_ok=True)
        raise


def verify_op(path: str, num_frames: int, frame_pts: Sequence[int] | None = None) -> dict[str, Any]:
    """Decode a clip file and refuse it unless it presents so many frames, at these times if they are given.

    Returns:
        The fields of `curate.clips.verify.Presented`.

    Raises:
        CutNotExact: it does not.
    """
    from curate.clips.verify import check_presented, decode_clip

    presented = decode_clip(Path(path))
    check_presented(presented, num_frames, frame_pts)
    return presented.as_json()
