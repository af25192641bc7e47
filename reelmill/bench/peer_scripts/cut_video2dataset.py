"""In the environment of video2dataset: cut given spans by its ClippingSubsampler, in one of its three precisions."""

import json
import sys
from pathlib import Path

from video2dataset.subsamplers.clipping_subsampler import ClippingSubsampler


def main(precision: str, jobs: list[dict]) -> None:
    """Clips land as 0.mp4, 1.mp4, … in each job's folder, each by the span it says it is of."""
    cutter = ClippingSubsampler(5, {"video": "mp4"}, precision=precision)
    for job in jobs:
        metadata = {
            "key": "0",
            "clips": [list(span) for span in job["spans_s"]],
            "video_metadata": {"keyframe_timestamps": job["keys_s"]},
        }
        streams, found, error = cutter({"video": [Path(job["source"]).read_bytes()]}, metadata)
        if error:
            print(f"{job['source']}: {error[:200]!r}", file=sys.stderr)
            continue
        for clip, facts in zip(streams["video"], found, strict=True):
            start_s = facts["clips"][0][0]
            number = max(at for at, span in enumerate(job["spans_s"]) if span[0] <= start_s + 1e-3)
            Path(job["out"], f"{number}.mp4").write_bytes(clip)


if __name__ == "__main__":
    main(sys.argv[1], json.load(sys.stdin))
