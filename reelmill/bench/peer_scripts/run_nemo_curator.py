"""In the environment of NeMo Curator: its video example in batch mode, fixed stride, VP9, motion, no model.

It has no shot detector for CPUs, so it is given the cut and the motion score alone.
"""

import sys

from nemo_curator.backends.xenna import XennaExecutor
from nemo_curator.pipeline import Pipeline
from nemo_curator.stages.video.clipping.clip_extraction_stages import ClipTranscodingStage, FixedStrideExtractorStage
from nemo_curator.stages.video.filtering.motion_filter import MotionFilterStage, MotionVectorDecodeStage
from nemo_curator.stages.video.io.clip_writer import ClipWriterStage
from nemo_curator.stages.video.io.video_reader import VideoReader

STRIDE_S = 5


def main(source: str, output: str) -> None:
    """Every video of a folder."""
    pipeline = Pipeline(name="bench")
    stages = [
        VideoReader(input_video_path=source),
        FixedStrideExtractorStage(
            clip_len_s=STRIDE_S, clip_stride_s=STRIDE_S, min_clip_length_s=0.5, limit_clips=0
        ),
        ClipTranscodingStage(num_cpus_per_worker=1, encoder="libvpx-vp9"),
        MotionVectorDecodeStage(num_cpus_per_worker=1),
        MotionFilterStage(score_only=True),
        ClipWriterStage(
            output_path=output, input_path=source, upload_clips=True, dry_run=False,
            generate_embeddings=False, generate_previews=False, generate_captions=False,
        ),
    ]  # fmt: skip
    for stage in stages:
        pipeline.add_stage(stage)
    pipeline.run(XennaExecutor(config={"execution_mode": "batch"}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
