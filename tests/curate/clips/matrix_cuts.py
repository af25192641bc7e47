"""Cutting the sources of the matrix in the safe child, as a worker does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from curate.clips.cut import CutConfig, CutResult, cut_clip
from curate.media.child import MediaChild
from reelmill.bench.clip_judge import Truth
from shards.config import parse_config

Cut = Callable[..., CutResult]


def cutter(child: MediaChild, folder: Path) -> Cut:
    """A function that cuts the frames [first, last) of a source with options of CutConfig."""

    def run(truth: Truth, first: int, last: int, **config: Any) -> CutResult:
        start_pts, end_pts = truth.span(first, last)
        base = {"time_base_num": truth.time_base.numerator, "time_base_den": truth.time_base.denominator}
        span = {"start_pts": start_pts, "end_pts": end_pts, "num_frames": last - first}
        clip = {**base, **span, "stream_index": truth.stream_index}
        video = child.call("probe", path=str(truth.path))["columns"]
        return cut_clip(child, truth.path, video, clip, folder / f"{first}.mp4", parse_config(CutConfig, config))

    return run
