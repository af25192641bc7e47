"""How often a captioner names colour, kind and direction right, on unseen toy footage that went through codecs.

Raw videos are drawn with another seed than any training clip's, encoded, decoded, sampled as a scan samples them, and
captioned by the code of the ordinary caption stage.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

from curate.models.blip2 import Blip2Captioner
from curate.models.caption_layout import tile_frames
from curate.models.runtime import Runtime
from curate.models.weights import Weights
from reelmill.toyworld.captioner_clips import LAYOUT, TILE_PX, jpeg_worn
from reelmill.toyworld.make import make_world
from reelmill.toyworld.plan import ToyworldConfig
from reelmill.toyworld.truth import VideoTruth
from reelmill.toyworld.world import Combination

WORDS = {"colour": 1, "kind": 2, "direction": 4}  # places in "a red circle moves left"
SHOTS_PER_VIDEO = 30
INTERVAL_S = 0.125
JPEG_QUALITY = 90
BATCH_SIZE = 32


def score_captioner(
    folder: Path, num_clips: int = 300, seed: int = 2**30, *, threads: int = 1, work: Path | None = None
) -> dict[str, float]:
    """Shares of clips whose colour, kind, direction, and all of it (`joint`), are named right; and their number.

    Args:
        folder: a captioner as `save_pretrained` writes it.
        num_clips: good shots of all combinations, held-out ones included.
        seed: of the raw videos.
        threads: of torch.
        work: where raw videos are drawn; a temporary folder if None.
    """
    captioner = Blip2Captioner(
        Weights(folder.name, folder, ""),
        Runtime(cpu_threads=threads),
        prompt="",
        max_new_tokens=8,
        num_beams=1,
        key="caption",
    )
    with tempfile.TemporaryDirectory(dir=work) as raw:
        clips = list(unseen_clips(Path(raw), num_clips, seed))
    captions: list[str] = []
    for start in range(0, len(clips), BATCH_SIZE):
        captions += captioner.caption([picture_HWC for picture_HWC, _ in clips[start : start + BATCH_SIZE]])
    rights = [_right(caption, combination) for caption, (_, combination) in zip(captions, clips, strict=True)]
    shares = {name: float(np.mean([right[name] for right in rights])) for name in rights[0]}
    return {"clips": len(clips), **shares}


def unseen_clips(folder: Path, num_clips: int, seed: int) -> Iterator[tuple[np.ndarray, Combination]]:
    """Pictures of good shots from freshly drawn raw videos, with what they show."""
    num_videos = -(-num_clips // SHOTS_PER_VIDEO)
    config = ToyworldConfig(
        num_videos=num_videos + (num_videos >= 3),  # from 4 on, the last one is a copy
        seed=seed,
        shots_per_video=min(SHOTS_PER_VIDEO, max(num_clips, 2)),
        defect_share=0,
        duplicate_share=0,
        split="all",
    )
    truths = [truth for truth in make_world(folder, config) if not truth.duplicate_of]
    clips = (clip for truth in truths for clip in _clips_of(folder / truth.video, truth))
    for _, clip in zip(range(num_clips), clips, strict=False):
        yield clip


def _clips_of(path: Path, truth: VideoTruth) -> Iterator[tuple[np.ndarray, Combination]]:
    sampled = _sampled_frames(truth)
    with av.open(str(path), "r") as container:
        jpegs = {
            index: jpeg_worn(frame.to_ndarray(format="rgb24"), JPEG_QUALITY)
            for index, frame in enumerate(container.decode(video=0))
            if index in sampled
        }
    for shot in truth.shots:
        frames_THWC = [jpegs[index] for index in sorted(sampled & set(range(shot.start_frame, shot.end_frame)))]
        if shot.combination:
            yield tile_frames(frames_THWC, LAYOUT, TILE_PX), shot.combination


def _sampled_frames(truth: VideoTruth) -> set[int]:
    """The first frame at or after each multiple of the interval, as a scan takes them."""
    times_T = np.array([float(truth.time(frame)) for frame in range(truth.num_frames)])
    wanted = np.searchsorted(times_T, np.arange(0, times_T[-1], INTERVAL_S) - 1e-6)
    return {int(frame) for frame in wanted}


def _right(caption: str, combination: Combination) -> dict[str, bool]:
    words, true_words = caption.split(), combination.caption.split()
    right = {name: words[place : place + 1] == [true_words[place]] for name, place in WORDS.items()}
    return {**right, "joint": words == true_words}
