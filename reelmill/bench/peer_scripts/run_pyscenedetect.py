"""In the environment of PySceneDetect: detect shots, cut by copy or encode, write one tar; prints the plan as JSON."""

import json
import sys
import tarfile
from pathlib import Path

from scenedetect import AdaptiveDetector, detect, split_video_ffmpeg

COPY = "-map 0 -c:v copy -c:a copy"  # what `split-video --copy` passes


def main(mode: str, output: Path, videos: list[Path]) -> None:
    """Every video in turn; one process, so that its imports count once."""
    for video in videos:
        scenes = detect(str(video), AdaptiveDetector(), start_in_scene=True)
        template = str(output / f"{video.stem}-$SCENE_NUMBER.mp4")
        options = {"arg_override": COPY} if mode == "copy" else {}
        code = split_video_ffmpeg(str(video), scenes, output_file_template=template, **options)
        spans = [(start.frame_num, end.frame_num) for start, end in scenes]
        print(json.dumps({"video": video.name, "spans": spans, "code": code}), flush=True)
    with tarfile.open(output / "shard.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        for clip in sorted(output.glob("*.mp4")):
            tar.add(clip, clip.name)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), [Path(name) for name in sys.argv[3:]])
