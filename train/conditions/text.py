"""Text: the caption as word ids."""

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from shards.config import Config
from shards.errors import ContractError
from train.models.text import PAD, AnyText


class TextConditionConfig(Config):
    """How text enters, and how often it is left out."""

    injection: Literal["film_time", "cross_attention"] = Field(
        default="film_time",
        description="film_time: per-frame modulation by text x time; cross_attention: sites attend to words.",
    )
    layout_channels: int = Field(
        default=16, ge=1, description="film_time: channels of the per-frame layout map at the input."
    )
    layout_px: int = Field(
        default=8, ge=1, description="film_time: side of the layout map; resized to the latent if it differs."
    )
    drop: float = Field(default=0.1, ge=0, lt=1, description="Share of clips trained without text, for guidance.")


def caption_words(vocabulary: AnyText, captions: Sequence[str | None], keys: Sequence[str], max_words: int) -> Tensor:
    """Word ids of a batch's captions, shape (B, L), or states of a frozen encoder, shape (B, L, D).

    Raises:
        ContractError: a clip has no caption; the plan must not hand it to a text model.
    """
    missing = [key for key, caption in zip(keys, captions, strict=True) if caption is None]
    if missing:
        raise ContractError(
            f"captions are null for clips {missing[:3]}; text models need captions; set data.plan.require_caption"
        )
    return vocabulary.encode([caption for caption in captions if caption is not None], max_words)


def drop_text(words_BL: Tensor, dropped_B: Tensor) -> Tensor:
    """Replace the text of marked rows by the empty text."""
    rows = dropped_B.reshape(-1, *(1,) * (words_BL.dim() - 1))
    return torch.where(rows.to(words_BL.device), torch.full_like(words_BL, PAD), words_BL)
