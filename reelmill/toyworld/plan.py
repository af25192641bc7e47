"""The records of a plan: what a toy-world folder will hold, file by file and shot by shot, before a pixel is drawn."""

from dataclasses import dataclass

from pydantic import Field

from reelmill.toyworld.encode import Recipe
from reelmill.toyworld.render import Shot
from reelmill.toyworld.truth import Defect, DuplicateOf, TransitionKind
from reelmill.toyworld.world import Split
from shards.config import Config

SHOT_DEFECTS: tuple[Defect, ...] = ("still", "dark", "blur", "border", "subtitle", "flash")


class ToyworldConfig(Config):
    """A folder of raw toy-world videos."""

    num_videos: int = Field(default=12, ge=1, description="Files; from 4 on, the last repeats the first byte for byte.")
    seed: int = Field(default=0, ge=0, description="Fixes every frame.")
    shots_per_video: int = Field(default=30, ge=2, description="Shots joined into one file.")
    defect_share: float = Field(
        default=0.2, ge=0, le=0.9, description="Shots with one defect, in turn: " + ", ".join(SHOT_DEFECTS)
    )
    duplicate_share: float = Field(
        default=0.04, ge=0, le=0.1, description="Shots that repeat one of an earlier file, brighter."
    )
    size_px: int = Field(default=96, ge=48, multiple_of=4, description="Side of the square picture.")
    split: Split = Field(default="train", description="Combinations shown; train leaves out all held-out ones.")


@dataclass(frozen=True)
class ShotPlan:
    """One shot of a file; frames [transition_start, start_frame) lead into it, [start_frame, end_frame) are its own.

    `shot` has its time 0 at `start_frame`.
    """

    shot: Shot
    transition: TransitionKind
    transition_start: int
    start_frame: int
    end_frame: int
    defects: tuple[Defect, ...] = ()
    flash_frames: tuple[int, ...] = ()
    brightness_step: float = 0.0
    duplicate_of: DuplicateOf | None = None

    @property
    def is_worth_repeating(self) -> bool:
        """It is itself no repetition, and has no defect but a mark, which belongs to the file."""
        return not self.duplicate_of and set(self.defects) <= {"mark"}


@dataclass(frozen=True)
class VideoPlan:
    """One file. `ticks` are the presentation times of its frames, in units of 1 / recipe.rate."""

    name: str
    seed: int
    recipe: Recipe
    size_px: int
    ticks: tuple[int, ...]
    end_tick: int
    shots: tuple[ShotPlan, ...]
    duplicate_of: str | None = None

    def time_s(self, frame: int) -> float:
        """When a frame is shown; the count of frames stands for the end."""
        ticks = self.end_tick if frame == len(self.ticks) else self.ticks[frame]
        return float(ticks / self.recipe.rate)

    def visible_frames(self, index: int) -> range:
        """Frames in which a shot is seen at all: its own, and its part of the transitions around it."""
        shot, after = self.shots[index], self.shots[index + 1 : index + 2]
        _, lead_in = transition_parts(shot.transition, shot.start_frame - shot.transition_start)
        lead_out = sum(transition_parts(next.transition, next.start_frame - next.transition_start)[0] for next in after)
        return range(shot.start_frame - lead_in, shot.end_frame + lead_out)


def transition_parts(transition: TransitionKind, num_frames: int) -> tuple[int, int]:
    """How many frames of a transition show the shot before, and how many the shot after."""
    if transition == "fade":
        return num_frames // 2, num_frames - num_frames // 2
    return num_frames, num_frames
