"""In the environment of Data-Juicer: cut given spans as its scene splitter (encode) or its reader (copy) does."""

import json
import sys
from fractions import Fraction
from pathlib import Path

from data_juicer.ops.mapper.video_split_by_scene_mapper import VideoSplitBySceneMapper
from data_juicer.utils.video_utils import FFmpegReader
from scenedetect import FrameTimecode
from scenedetect.common import Timecode


def main(mode: str, jobs: list[dict]) -> None:
    """Clips land as 0.mp4, 1.mp4, … in each job's folder."""
    splitter = VideoSplitBySceneMapper()
    for job in jobs:
        out = Path(job["out"])

        def time_of(pts: int, job: dict = job) -> FrameTimecode:
            return FrameTimecode(Timecode(pts, Fraction(job["time_base"])), float(job["rate"]))

        if mode == "encode":
            scenes = [tuple(map(time_of, span)) for span in job["spans_pts"]]
            made = splitter._split_video(job["source"], scenes, str(out / "clip_$SCENE_NUMBER.mp4"))
            for number, clip in enumerate(made):
                if Path(clip).exists():
                    Path(clip).rename(out / f"{number}.mp4")
        else:  # as video_split_by_duration_mapper and video_split_by_key_frame_mapper do
            with FFmpegReader(job["source"]) as reader:
                for number, (start_s, end_s) in enumerate(job["spans_s"]):
                    reader.extract_clip(start_s, end_s, str(out / f"{number}.mp4"))


if __name__ == "__main__":
    main(sys.argv[1], json.load(sys.stdin))
