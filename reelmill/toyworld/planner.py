"""Planning a toy-world folder: every file, cut, shot and defect follows from the seed, in one process.

Videos can then be drawn in any order and by any number of processes.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, cycle, pairwise

import numpy as np

from reelmill.toyworld import timeline
from reelmill.toyworld.encode import RECIPES
from reelmill.toyworld.plan import SHOT_DEFECTS, ShotPlan, ToyworldConfig, VideoPlan
from reelmill.toyworld.render import draw_shot
from reelmill.toyworld.timeline import BRIGHTNESS_STEP, Cut
from reelmill.toyworld.truth import Defect
from reelmill.toyworld.world import Combination, combinations

MARKED_EVERY, MARKED_OFFSET = 8, 5  # a burnt-in mark is on a whole file


def plan_world(config: ToyworldConfig) -> list[VideoPlan]:
    """All files of a folder."""
    rng = np.random.default_rng(config.seed)
    shown = combinations(config.split)
    deck = cycle([shown[index] for index in rng.permutation(len(shown))])
    defects = cycle(SHOT_DEFECTS)
    repeats_first = config.num_videos >= 4
    plans: list[VideoPlan] = []
    for index in range(config.num_videos - repeats_first):
        plans.append(_plan_video(index, int(rng.integers(2**31)), config, plans, deck, defects))
    if repeats_first:
        name = f"toy_{len(plans):04d}{plans[0].recipe.suffix}"
        plans.append(replace(plans[0], name=name, duplicate_of=plans[0].name))
    return plans


def _plan_video(
    index: int,
    seed: int,
    config: ToyworldConfig,
    earlier: list[VideoPlan],
    deck: Iterator[Combination],
    defects: Iterator[Defect],
) -> VideoPlan:
    rng = np.random.default_rng(seed)
    recipe = RECIPES[index % len(RECIPES)]
    sources = timeline.sources(earlier)
    cuts = timeline.cuts(rng, timeline.slots(rng, config, defects, bool(sources)), recipe, sources)
    ticks, end_tick = timeline.ticks(rng, cuts[-1].end_frame, recipe.is_vfr)
    blank = VideoPlan(f"toy_{index:04d}{recipe.suffix}", seed, recipe, config.size_px, ticks, end_tick, ())
    marks: tuple[Defect, ...] = ("mark",) if index % MARKED_EVERY == MARKED_OFFSET else ()
    shots = [
        _repeated(cut, marks) if cut.source else _fresh(rng, blank, cut, after, next(deck), marks)
        for cut, after in pairwise(chain(cuts, [None]))
        if cut
    ]
    return replace(blank, shots=tuple(shots))


def _fresh(
    rng: np.random.Generator,
    video: VideoPlan,
    cut: Cut,
    after: Cut | None,
    combination: Combination,
    marks: tuple[Defect, ...],
) -> ShotPlan:
    _, lead_in = cut.parts
    lead_out = after.parts[0] if after else 0
    first_s, own_s = video.time_s(cut.start_frame - lead_in), video.time_s(cut.start_frame)
    shot = draw_shot(rng, combination, video.time_s(cut.end_frame + lead_out) - first_s, cut.base_luma)
    shot = replace(shot, start_xy=shot.centre(own_s - first_s))
    if cut.slot == "still":
        shot = replace(shot, speed=0.0, drift_xy=(0.0, 0.0))
    return ShotPlan(
        shot=shot,
        transition=cut.transition,
        transition_start=cut.transition_start,
        start_frame=cut.start_frame,
        end_frame=cut.end_frame,
        defects=marks if cut.slot in ("good", "duplicate") else (cut.slot, *marks),
        flash_frames=(int(rng.integers(cut.start_frame + 5, cut.end_frame - 5)),) if cut.slot == "flash" else (),
    )


def _repeated(cut: Cut, marks: tuple[Defect, ...]) -> ShotPlan:
    assert cut.source
    return ShotPlan(
        shot=cut.source.plan.shot,
        transition=cut.transition,
        transition_start=cut.transition_start,
        start_frame=cut.start_frame,
        end_frame=cut.end_frame,
        defects=marks,
        brightness_step=BRIGHTNESS_STEP,
        duplicate_of=cut.source.of,
    )
