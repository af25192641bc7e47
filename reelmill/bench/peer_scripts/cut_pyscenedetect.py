"""In the environment of PySceneDetect: cut given scenes by its own `split_video_ffmpeg`, encoding or copying."""

import json
import sys
from fractions import Fraction
from pathlib import Path

from scenedetect import FrameTimecode, split_video_ffmpeg
from scenedetect.common import Timecode

COPY = "-map 0:v:0 -map 0:a? -map 0:s? -c:v copy -c:a copy"  # what `split-video --copy` passes


def main(mode: str, jobs: list[dict]) -> None:
    """Clips land as 0.mp4, 1.mp4, … in each job's folder."""
    options = {"arg_override": COPY} if mode == "copy" else {}
    for job in jobs:

        def time_of(pts: int, job: dict = job) -> FrameTimecode:
            return FrameTimecode(Timecode(pts, Fraction(job["time_base"])), float(job["rate"]))

        scenes = [tuple(map(time_of, span)) for span in job["spans_pts"]]
        template = f"{job['out']}/clip-$SCENE_NUMBER.mp4"
        split_video_ffmpeg(job["source"], scenes, output_file_template=template, **options)
        for number, clip in enumerate(sorted(Path(job["out"]).glob("clip-*.mp4"))):
            clip.rename(clip.with_name(f"{number}.mp4"))


if __name__ == "__main__":
    main(sys.argv[1], json.load(sys.stdin))
