"""What a hard cut and a blank frame are, in numbers."""

from pydantic import Field

from shards.config import Config


class CutsConfig(Config):
    """Where shots begin: knobs of PySceneDetect's adaptive detector, and what is a flash and no cut."""

    adaptive_ratio: float = Field(
        default=3.0, gt=1, description="A cut changes so many times more than the frames around it."
    )
    min_content_levels: float = Field(default=15.0, gt=0, description="A cut changes hue, saturation, value by this.")
    window_frames: int = Field(default=2, ge=1, description="Frames on each side that a change is compared with.")
    flash_max_frames: int = Field(
        default=4, ge=0, description="Longest run of odd frames that is a flash inside one shot."
    )
    flash_likeness: float = Field(
        default=0.5,
        gt=0,
        lt=1,
        description="After a flash, the difference to the frame before it is at most this share.",
    )


class BlankConfig(Config):
    """Which frames are black or white and nothing else: the core of a fade."""

    black_level: int = Field(default=12, ge=1, le=255, description="Mean RGB level below which a frame is black.")
    white_level: int = Field(default=243, ge=1, le=255, description="Mean RGB level from which on a frame is white.")
    max_spread_levels: float = Field(
        default=6.0, gt=0, description="Standard deviation of luma that a blank frame may have; a night scene has more."
    )
