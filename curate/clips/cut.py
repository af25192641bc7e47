"""A kept span to clip bytes: copied packets by default, encoded frames by choice or where a copy would not be exact.

Either way the file is decoded before anyone sees it, and is refused unless it presents exactly the planned frames.
`cut_clip` is the worker's side; `cut_op` and `verify_op` run in the safe child.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from curate.clips.encoders import EncodeConfig
from curate.clips.picture_size import Box, inner_box, upright_size
from shards.config import Config
from shards.schema import time_base

if TYPE_CHECKING:
    from curate.media.child import MediaChild


COPYABLE = ("h264", "hevc", "vp9", "av1")  # codecs that MP4 carries as they are
VERSION = 2  # of the bytes that one configuration gives
_NAME = r"^[a-z0-9][a-z0-9_-]{0,31}$"


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
        description="Decode each clip for count and times; `frames` holds a copy's pictures against the source's too, "
        "and stores a digest of the frames in the index.",
    )
    audio: Literal["drop", "keep"] = Field(
        default="drop",
        description="keep: the span of the source's first audio stream, as AAC; drop: what trains on text has no use.",
    )
    encode: EncodeConfig = Field(default=EncodeConfig(), description="What `dataset` holds where clips are encoded.")
    also: Mapping[Annotated[str, StringConstraints(pattern=_NAME)], EncodeConfig] = Field(
        default={},
        description="Further datasets `dataset-NAME` of the same clips, encoded in other ways from the same decode.",
    )

    @model_validator(mode="after")
    def _changes_only_what_it_encodes(self) -> Self:
        if self.mode == "encode":
            return self
        if self.encode.changes_pictures:
            raise ValueError(
                "encode.short_side_px, crop or fps is set; a copy keeps pictures as they are; set mode to encode, or "
                "unset it"
            )
        if self.also:
            raise ValueError(f"also is {sorted(self.also)}; a copy decodes nothing to make them of; set mode to encode")
        return self

    @property
    def targets(self) -> dict[str | None, EncodeConfig]:
        """Name of each dataset -> how its clips are encoded; None is `dataset` itself."""
        return {None: self.encode, **dict(sorted(self.also.items()))}

    def describe(self) -> str:
        """What becomes of kept clips, for people."""
        if self.mode == "copy":
            how = f"copied ({', '.join(COPYABLE)}; hidden before it at most {self.max_preroll:g} x the clip)"
            rest = f"else encoded by {_described(self.encode)}"
            return f"{how}, {rest}, sound {_SOUND[self.audio]}"
        made = [f"dataset{f'-{name}' if name else ''}: {_described(one)}" for name, one in self.targets.items()]
        return f"encoded from one decode, {'; '.join(made)}; sound {_SOUND[self.audio]}"


_SOUND = {"drop": "dropped", "keep": "kept as AAC"}


def _described(config: EncodeConfig) -> str:
    words = [f"{config.encoder} crf {config.crf} {config.pix_fmt}, key frame every {config.gop_frames}"]
    words += [f"short side {config.short_side_px} px"] if config.short_side_px else []
    words += ["without black borders"] if config.crop == "inner_box" else []
    words += [f"at most {config.fps:g} fps"] if config.fps else []
    return ", ".join(words)


def shape_of(
    config: EncodeConfig, video_row: Mapping[str, Any], clip_row: Mapping[str, Any]
) -> tuple[tuple[int, int], Box | None]:
    """Displayed height and width in px of a clip, and what is cut out of the upright picture for it."""
    box = inner_box(video_row, clip_row) if config.crop == "inner_box" else None
    return upright_size(video_row, config.short_side_px, box), box


def most_frames(config: EncodeConfig, num_frames: int, duration_s: Fraction) -> int:
    """Frames of a clip that `fps` may leave; exactly so many, or one less, at an even rate above it."""
    return num_frames if config.rate is None else min(num_frames, math.ceil(duration_s * config.rate))


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
        decoded_digest: digest of the presented frames, of a copy equal to the source's; None unless `verify` is frames.
        also: name of each further dataset -> its clip, of the same decode.
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
    decoded_digest: int | None = None
    also: Mapping[str, "CutResult"] = field(default_factory=dict)


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
    outs = {name: out.with_stem(f"{out.stem}-{name}") if name else out for name in config.targets}
    results = child.call(
        "cut",
        source=str(source_path),
        stream_index=clip_row["stream_index"],
        start_pts=clip_row["start_pts"],
        end_pts=clip_row["end_pts"],
        num_frames=clip_row["num_frames"],
        time_base=str(time_base(clip_row)),
        targets=[
            _target_json(config.targets[name], video_row, clip_row, path.resolve()) for name, path in outs.items()
        ],
        config=config.resolved(),
    )["clips"]
    transfer = video_row["color_transfer"]
    made = {
        name: CutResult(path=path, color_transfer=transfer, **result)
        for (name, path), result in zip(outs.items(), results, strict=True)
    }
    return replace(made[None], also={name: result for name, result in made.items() if name})


def _target_json(
    config: EncodeConfig, video_row: Mapping[str, Any], clip_row: Mapping[str, Any], out: Path
) -> dict[str, Any]:
    size_hw, box = shape_of(config, video_row, clip_row)
    resized = size_hw if config.short_side_px else None
    return {"out": str(out), "config": config.resolved(), "size_hw": resized, "box": box}


def cut_op(
    source: str, time_base: str, targets: Sequence[Mapping[str, Any]], config: dict[str, Any], **span: int
) -> dict[str, Any]:
    """Cut and verify one clip: `cut_clip` in the child.

    Returns:
        `clips`: for each target the fields of CutResult that the child knows.
    """
    from curate.clips.cutter import Cut, Cutter
    from curate.clips.encode import Target

    wanted = [
        Target(
            Path(target["out"]),
            EncodeConfig.model_validate(target["config"]),
            tuple(target["size_hw"]) if target["size_hw"] else None,
            Box(*target["box"]) if target["box"] else None,
        )
        for target in targets
    ]
    cut = Cut(source=Path(source), time_base=Fraction(time_base), **span)
    try:
        clips = Cutter(cut, CutConfig.model_validate(config), wanted).run()
    except BaseException:
        for target in wanted:
            target.out.unlink(missing_ok=True)
        raise
    return {"clips": clips, "decoded_frames": clips[0]["decoded_frames"]}


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
