"""The configuration of a plan: which samples are read, how often, in which batches and in which order."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from shards.config import Config


class PlanConfig(Config):
    """Which samples are read, and in which batches."""

    split: Literal["train", "val", "test", "all"] = Field(
        default="train", description="Split of the version, or all of them."
    )
    where: str | None = Field(
        default=None,
        description="SQL-like condition over columns of the index, e.g. aesthetic > 5 AND duration_s >= 2; samples for "
        "which it is false or unknown are left out.",
    )
    weight: str | None = Field(
        default=None,
        description="SQL-like number over columns of the index: how often a sample is drawn, relative to the others; 0 "
        "is never. null: every sample once an epoch.",
    )
    bucket_by: Literal["view", "shape", "tokens", "arrays"] = Field(
        default="view",
        description="view: one bucket of the view's size; shape: one for each of view.shapes, of global_batch samples; "
        "tokens: likewise, of as many samples as tokens_per_batch allows; arrays: one for each shape of the samples' "
        "stored arrays (.latent.npy, .text.npy), of global_batch samples, whatever the view.",
    )
    global_batch: int = Field(default=64, gt=0, description="Samples per step over all ranks.")
    tokens_per_batch: int | None = Field(
        default=None, gt=0, description="Most tokens per step over all ranks, for bucket_by: tokens."
    )
    token_size: tuple[int, int, int] = Field(
        default=(4, 16, 16),
        description="Frames, height and width (px) that make one token: of the codec times the patches of the model.",
    )
    batch_multiple_of: int = Field(
        default=1,
        gt=0,
        description="Batches by tokens are multiples of this: every world size that divides it can read.",
    )
    images: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of the steps that show single frames; drawn evenly (or by weight) beside the videos.",
    )
    images_where: str | None = Field(
        default=None, description="SQL-like condition: samples of which single frames are shown. null: all."
    )
    seed: int = Field(default=0, description="Another seed is another order.")
    tail: Literal["drop", "pad"] = Field(
        default="drop",
        description="The last batch of a bucket: dropped (its samples rest for this epoch), or padded with samples of "
        "the same bucket that are marked as padding. Buckets with weights are drawn in whole batches.",
    )
    shuffle: Literal["full", "blocks", "none"] = Field(
        default="full",
        description="full: samples in any order. blocks: shards in any order, then samples within blocks of "
        "block_shards, so that few shards are open at once. none: in order of id, batches in order of bucket.",
    )
    block_shards: int = Field(default=50, gt=0, description="Shards of a block, for shuffle: blocks; of every bucket.")
    captions: dict[str, float] = Field(
        default={"caption": 1.0},
        description="Columns of text and their weights: which is shown of a sample is chosen anew in every epoch, "
        "among those that are not null.",
    )
    require_caption: bool = Field(
        default=True, description="Leave out samples without a caption in any of the columns of `captions`."
    )
    min_num_frames: int = Field(default=1, gt=0, description="Leave out clips with fewer frames, as videos.")

    @model_validator(mode="after")
    def _token_budget(self) -> "PlanConfig":
        if (self.bucket_by == "tokens") != (self.tokens_per_batch is not None):
            raise ValueError(
                f"plan.tokens_per_batch is {self.tokens_per_batch} and plan.bucket_by is {self.bucket_by}; tokens has "
                "a budget and the others have none; set both or neither"
            )
        if min(self.token_size) < 1:
            raise ValueError(f"plan.token_size is {self.token_size}; numbers from 1 are allowed; change it")
        return self

    @field_validator("captions")
    @classmethod
    def _caption_weights(cls, captions: dict[str, float]) -> dict[str, float]:
        if not captions or min(captions.values()) <= 0:
            raise ValueError("columns with weights above 0 are allowed; name one, or remove those without weight")
        return dict(sorted(captions.items()))  # their order is none of the plan's

    @model_validator(mode="after")
    def _images(self) -> "PlanConfig":
        if self.images_where is not None and not self.images:
            raise ValueError("plan.images_where is set and plan.images is 0; set a share of the steps, or remove it")
        return self
