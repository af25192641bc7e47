"""What is true of a toy-world folder: every fact of every video, as typed records and JSON.

Frames of a video are partitioned by its shots and the transitions into them: a transition's frames belong to two shots
at once (or fade between them), a shot's span holds only frames that are wholly its own. All spans are half-open.
"""

from fractions import Fraction
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from reelmill.toyworld.world import Combination
from shards.errors import ConfigError

TransitionKind = Literal["start", "cut", "fade", "dissolve", "wipe"]
Defect = Literal["still", "dark", "blur", "border", "mark", "subtitle", "flash"]

TRUTH_FOLDER = "truth"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Box(_Record):
    """A rectangle in px, far sides exclusive."""

    left: int
    top: int
    right: int
    bottom: int


class Transition(_Record):
    """How a shot begins: `start` (of the video) and `cut` take no frames."""

    kind: TransitionKind
    start_frame: int
    end_frame: int


class DuplicateOf(_Record):
    """The shot that this one repeats, brighter and encoded anew."""

    video: str
    shot: int


class ShotTruth(_Record):
    """One shot.

    Attributes:
        start_frame, end_frame: the frames that are wholly this shot's.
        direction: None for a still, which does not move.
        radius_px: of the circle of about the shape's area.
        start_centre_px, end_centre_px: (x, y) of the shape in the first and the last of those frames.
        defects: what a curator could object to; `mark` and `subtitle` have their box, `border` its picture's.
        flash_frames: single white frames within the shot.
    """

    start_frame: int
    end_frame: int
    transition: Transition
    colour: str
    kind: str
    direction: str | None
    caption: str
    radius_px: float
    start_centre_px: tuple[float, float]
    end_centre_px: tuple[float, float]
    defects: tuple[Defect, ...]
    picture_box: Box | None
    mark_box: Box | None
    subtitle_box: Box | None
    flash_frames: tuple[int, ...]
    duplicate_of: DuplicateOf | None

    @property
    def combination(self) -> Combination | None:
        """What the shot shows; None for a still."""
        return Combination(self.colour, self.kind, self.direction) if self.direction else None


class VideoTruth(_Record):
    """One file.

    Attributes:
        video: file name.
        tick_num, tick_den: seconds per tick, as a fraction.
        frame_ticks: presentation time of every frame; 0, 1, 2, … unless `is_vfr`.
        end_tick: past the last frame.
        duplicate_of: the file whose bytes this one repeats.
    """

    video: str
    seed: int
    codec: str
    container: str
    size_px: int
    tick_num: int
    tick_den: int
    is_vfr: bool
    frame_ticks: tuple[int, ...]
    end_tick: int
    duplicate_of: str | None
    shots: tuple[ShotTruth, ...]

    @property
    def num_frames(self) -> int:
        """Frames in the file."""
        return len(self.frame_ticks)

    def time(self, frame: int) -> Fraction:
        """When a frame is shown, seconds since the first; the count of frames stands for the end."""
        ticks = self.end_tick if frame == self.num_frames else self.frame_ticks[frame]
        return ticks * Fraction(self.tick_num, self.tick_den)

    def shot_at(self, start_s: float, end_s: float) -> ShotTruth | None:
        """The shot that covers most of [start_s, end_s), seconds since the first frame; None if under half of it."""

        def overlap_s(shot: ShotTruth) -> float:
            return min(end_s, float(self.time(shot.end_frame))) - max(start_s, float(self.time(shot.start_frame)))

        best = max(self.shots, key=overlap_s)
        return best if overlap_s(best) >= (end_s - start_s) / 2 else None


def truth_path(folder: Path, video: str) -> Path:
    """Where the truth of a video of a folder lies."""
    return folder / TRUTH_FOLDER / f"{video}.json"


def load(folder: Path) -> dict[str, VideoTruth]:
    """The truth of all videos of a folder, by file name, in order.

    Raises:
        ConfigError: the folder was not made by `reelmill toyworld make`.
    """
    paths = sorted((folder / TRUTH_FOLDER).glob("*.json"))
    if not paths:
        raise ConfigError(f"{folder} holds no {TRUTH_FOLDER}/*.json; a toy-world folder is allowed; make one first")
    truths = (load_video(path) for path in paths)
    return {truth.video: truth for truth in truths}


def load_video(path: Path) -> VideoTruth:
    """The truth of one video."""
    return VideoTruth.model_validate_json(path.read_text(encoding="utf-8"))
