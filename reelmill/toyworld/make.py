"""A folder of raw toy-world videos, each with its truth: `reelmill toyworld make`."""

import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2

from reelmill.toyworld.dress import mark_box, picture_box, subtitle_box
from reelmill.toyworld.edit import video_frames
from reelmill.toyworld.encode import write_video
from reelmill.toyworld.plan import ShotPlan, ToyworldConfig, VideoPlan
from reelmill.toyworld.planner import plan_world
from reelmill.toyworld.truth import ShotTruth, Transition, VideoTruth, truth_path


def make(
    folder: Path,
    num_videos: int,
    seed: int,
    *,
    shots_per_video: int = 30,
    num_workers: int = 1,
    on_video: Callable[[], None] = lambda: None,
) -> list[VideoTruth]:
    """Draw so many videos and their truth into a folder: what `reelmill toyworld make` does."""
    config = ToyworldConfig(num_videos=num_videos, seed=seed, shots_per_video=shots_per_video)
    return make_world(folder, config, num_workers=num_workers, on_video=on_video)


def make_world(
    folder: Path, config: ToyworldConfig, *, num_workers: int = 1, on_video: Callable[[], None] = lambda: None
) -> list[VideoTruth]:
    """Draw all videos and their truth into a folder; drawing anew gives the same bytes.

    Args:
        folder: made if missing; gets `toy_0000.mp4`, … and `truth/toy_0000.mp4.json`, ….
        config: what to draw.
        num_workers: processes that draw; the bytes do not depend on it.
        on_video: called after each drawn file, for a progress bar.
    """
    plans = plan_world(config)
    truth_path(folder, "").parent.mkdir(parents=True, exist_ok=True)
    for _ in _drawn(folder, [plan for plan in plans if plan.duplicate_of is None], num_workers):
        on_video()
    truths = [truth_of(plan) for plan in plans]
    for plan, truth in zip(plans, truths, strict=True):
        if plan.duplicate_of:
            shutil.copyfile(folder / plan.duplicate_of, folder / plan.name)
        _write_text(truth_path(folder, plan.name), truth.model_dump_json(indent=1) + "\n")
    return truths


def truth_of(plan: VideoPlan) -> VideoTruth:
    """Every fact of one file."""
    return VideoTruth(
        video=plan.name,
        seed=plan.seed,
        codec=plan.recipe.codec,
        container=plan.recipe.suffix.removeprefix("."),
        size_px=plan.size_px,
        tick_num=plan.recipe.rate.denominator,
        tick_den=plan.recipe.rate.numerator,
        is_vfr=plan.recipe.is_vfr,
        frame_ticks=plan.ticks,
        end_tick=plan.end_tick,
        duplicate_of=plan.duplicate_of,
        shots=tuple(_shot_truth(plan, shot) for shot in plan.shots),
    )


def _shot_truth(plan: VideoPlan, shot: ShotPlan) -> ShotTruth:
    combination, size_px = shot.shot.combination, plan.size_px
    is_still = "still" in shot.defects
    sideways = combination.direction in ("left", "right")
    return ShotTruth(
        start_frame=shot.start_frame,
        end_frame=shot.end_frame,
        transition=Transition(kind=shot.transition, start_frame=shot.transition_start, end_frame=shot.start_frame),
        colour=combination.colour,
        kind=combination.kind,
        direction=None if is_still else combination.direction,
        caption=combination.still_caption if is_still else combination.caption,
        radius_px=shot.shot.radius * size_px,
        start_centre_px=_centre_px(plan, shot, shot.start_frame),
        end_centre_px=_centre_px(plan, shot, shot.end_frame - 1),
        defects=shot.defects,
        picture_box=picture_box(size_px, sideways) if "border" in shot.defects else None,
        mark_box=mark_box(size_px) if "mark" in shot.defects else None,
        subtitle_box=subtitle_box(size_px, shot.shot.seed) if "subtitle" in shot.defects else None,
        flash_frames=shot.flash_frames,
        duplicate_of=shot.duplicate_of,
    )


def _centre_px(plan: VideoPlan, shot: ShotPlan, frame: int) -> tuple[float, float]:
    x, y = shot.shot.centre(plan.time_s(frame) - plan.time_s(shot.start_frame))
    return x * plan.size_px, y * plan.size_px


def _drawn(folder: Path, plans: list[VideoPlan], num_workers: int) -> Iterator[None]:
    tasks = [(folder, plan) for plan in plans]
    if num_workers == 1:
        yield from map(_draw, tasks)
        return
    with multiprocessing.get_context("spawn").Pool(num_workers) as pool:
        yield from pool.imap_unordered(_draw, tasks)


def _draw(task: tuple[Path, VideoPlan]) -> None:
    folder, plan = task
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # frames are too small to share
    try:
        write_video(folder / plan.name, video_frames(plan), plan.ticks, plan.recipe, plan.size_px)
    finally:
        cv2.setNumThreads(threads)


def _write_text(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
