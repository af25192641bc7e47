"""How bytes are read: nothing here decides which samples are in which batch."""

from typing import Literal

from pydantic import Field

from shards.config import Config


class ReadingConfig(Config):
    """Waiting, damage, trust, storage."""

    timeout_s: float = Field(default=600.0, gt=0, description="No batch for so long is an error, not a wait.")
    prefetch_factor: int = Field(
        default=2, gt=0, description="Batches that each decoding process works ahead; none without processes."
    )
    on_damage: Literal["raise", "substitute"] = Field(
        default="raise",
        description="A sample whose bytes are not those that were published, or do not decode: stop, or put the next "
        "intact sample of the same global batch in its place, log it, and keep it in the position.",
    )
