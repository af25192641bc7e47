"""Where the shots of one file begin and end, before it is known what they show."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np

from reelmill.toyworld.encode import Recipe
from reelmill.toyworld.plan import ShotPlan, ToyworldConfig, VideoPlan, transition_parts
from reelmill.toyworld.render import BASE_LUMA_LEVELS
from reelmill.toyworld.truth import Defect, DuplicateOf, TransitionKind

OWN_S = (2.2, 2.5)  # of a shot, without transitions: 16 frames at 8 per second with room for trimming
TRANSITION_S = (0.3, 0.45)
TRANSITIONS: tuple[TransitionKind, ...] = ("cut", "cut", "cut", "cut", "cut", "cut", "fade", "dissolve", "wipe")
BASE_LUMA_STEP = 50.0  # between neighbours, at least: a cut that nobody can see is no fact
BRIGHTNESS_STEP = 14.0  # of a near duplicate, levels
NUM_SOURCES_TRIED = 16
VFR_GROUP = 4  # of four frames one stands twice as long

Slot = Literal["good", "duplicate"] | Defect
_GOOD: list[Slot] = ["good"]
_DUPLICATE: list[Slot] = ["duplicate"]


@dataclass(frozen=True)
class Source:
    """A shot of an earlier file that may be repeated."""

    of: DuplicateOf
    plan: ShotPlan
    own_s: float


@dataclass(frozen=True)
class Cut:
    """One shot's place: frames [transition_start, start_frame) lead into it, [start_frame, end_frame) are its own."""

    slot: Slot
    source: Source | None
    base_luma: float
    transition: TransitionKind
    transition_start: int
    start_frame: int
    end_frame: int

    @property
    def parts(self) -> tuple[int, int]:
        """How many frames of the transition show the shot before, and how many this one."""
        return transition_parts(self.transition, self.start_frame - self.transition_start)


def sources(videos: Sequence[VideoPlan]) -> list[Source]:
    """All shots of these files that are worth repeating."""
    return [
        Source(
            DuplicateOf(video=video.name, shot=index),
            shot,
            video.time_s(shot.end_frame) - video.time_s(shot.start_frame),
        )
        for video in videos
        for index, shot in enumerate(video.shots)
        if shot.is_worth_repeating
    ]


def slots(rng: np.random.Generator, config: ToyworldConfig, defects: Iterator[Defect], can_repeat: bool) -> list[Slot]:
    """What each shot is there for, in random order."""
    num_defects = round(config.shots_per_video * config.defect_share)
    num_duplicates = round(config.shots_per_video * config.duplicate_share) if can_repeat else 0
    found: list[Slot] = [next(defects) for _ in range(num_defects)]
    found += num_duplicates * _DUPLICATE
    found += (config.shots_per_video - len(found)) * _GOOD
    return [found[index] for index in rng.permutation(len(found))]


def cuts(rng: np.random.Generator, slots: Sequence[Slot], recipe: Recipe, sources: Sequence[Source]) -> list[Cut]:
    """The shots' places in a file, one after the other."""
    rate = recipe.rate * Fraction(VFR_GROUP, VFR_GROUP + 1) if recipe.is_vfr else recipe.rate
    found: list[Cut] = []
    for slot in slots:
        found.append(_next_cut(rng, found[-1] if found else None, slot, rate, sources))
    return found


def ticks(rng: np.random.Generator, num_frames: int, is_vfr: bool) -> tuple[tuple[int, ...], int]:
    """Presentation times and the end; at a variable rate one frame of each group stands for two ticks."""
    gaps_T = np.ones(num_frames, int)
    if is_vfr:
        firsts = np.arange(0, num_frames - VFR_GROUP + 1, VFR_GROUP)
        gaps_T[firsts + rng.integers(0, VFR_GROUP, len(firsts))] = 2
    edges = np.concatenate([[0], np.cumsum(gaps_T)])
    return tuple(edges[:-1].tolist()), int(edges[-1])


def _next_cut(
    rng: np.random.Generator, before: Cut | None, slot: Slot, rate: Fraction, sources: Sequence[Source]
) -> Cut:
    luma_before = before.base_luma if before else None
    source = _pick(rng, sources, luma_before) if slot == "duplicate" else None
    base_luma = source.plan.shot.base_luma + BRIGHTNESS_STEP if source else _base_luma(rng, luma_before)
    transition = _transition(rng, before, source)
    extent = 0 if transition in ("start", "cut") else round(rng.uniform(*TRANSITION_S) * rate)
    num_own = int((source.own_s if source else rng.uniform(*OWN_S)) * rate)
    edge = before.end_frame if before else 0
    return Cut(slot, source, base_luma, transition, edge, edge + extent, edge + extent + num_own)


def _transition(rng: np.random.Generator, before: Cut | None, source: Source | None) -> TransitionKind:
    if before is None:
        return "start"
    if source or before.source:
        return "cut"  # a repeated shot has no frames beyond its own
    return TRANSITIONS[rng.integers(len(TRANSITIONS))]


def _pick(rng: np.random.Generator, sources: Sequence[Source], luma_before: float | None) -> Source:
    """Of some drawn at random, the one that stands out most from the shot before."""
    drawn = [sources[index] for index in rng.integers(len(sources), size=NUM_SOURCES_TRIED)]
    return max(drawn, key=lambda source: abs(source.plan.shot.base_luma - (luma_before or 0)))


def _base_luma(rng: np.random.Generator, luma_before: float | None) -> float:
    """A background's luma, well apart from that of the shot before."""
    low, high = BASE_LUMA_LEVELS
    if luma_before is None:
        return float(rng.uniform(low, high))
    below, above = max(luma_before - BASE_LUMA_STEP - low, 0), max(high - luma_before - BASE_LUMA_STEP, 0)
    place = rng.uniform(0, below + above)
    return float(low + place if place < below else high - (place - below))
