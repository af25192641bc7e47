"""A frozen text encoder from elsewhere, through transformers: CLIP, T5, or any that gives token states.

It stands in for the vocabulary: captions in, one vector per token out, zeros behind a caption's end and for no text.
The denoiser projects the vectors, so a learned bias is what it hears of nothing.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from shards.config import Config
from shards.errors import ConfigError
from shards.ids import digest
from train.pretrained import path_or_hub_id


class PretrainedTextConfig(Config):
    """Frozen text encoder."""

    kind: Literal["pretrained"] = "pretrained"
    path: str = Field(description="Folder (also below REELMILL_MODELS) or hub id of the encoder or of a pipeline.")
    subfolder: str | None = Field(default=None, description="Folder of the encoder inside it, e.g. text_encoder.")
    tokenizer_subfolder: str | None = Field(default=None, description="Folder of the tokenizer, e.g. tokenizer.")
    revision: str | None = Field(default=None, description="Of the hub repository; null is the newest.")
    max_words: int = Field(default=77, ge=1, description="Tokens of a caption that are read; later ones are cut off.")
    width: int | None = Field(
        default=None, ge=8, description="Width of the projected vectors; null takes them as they come."
    )


class PretrainedText:
    """Captions to token states; has what a `Vocabulary` has."""

    words: tuple[str, ...] = ()  # none of its own: any text is allowed

    def __init__(self, config: PretrainedTextConfig, device: torch.device) -> None:
        self.tokenizer, self.model = _load(config)
        self.model.to(device)
        self.device = device
        self.source_sha256 = digest(
            {name: [list(value.shape), float(value.double().sum())] for name, value in self.model.state_dict().items()}
        )

    def __len__(self) -> int:
        """Width of a token's vector."""
        config = self.model.config
        return int(getattr(config, "d_model", None) or config.hidden_size)

    @torch.no_grad()
    def encode(self, captions: Sequence[str], max_words: int) -> Tensor:
        """Token states, float32 of shape (B, L, D), zeros where there is no token."""
        tokens = self.tokenizer(
            list(captions), padding="max_length", truncation=True, max_length=max_words, return_tensors="pt"
        ).to(self.device)
        states_BLD = self.model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
        mask_BL1 = tokens["attention_mask"][..., None].to(torch.float32)
        return states_BLD.last_hidden_state.float() * mask_BL1

    def unknown(self, caption: str) -> list[str]:
        """Words without an id: none, tokens are parts of words."""
        return []

    def document(self) -> Any:
        """What a checkpoint says of it."""
        return {"source_sha256": self.source_sha256}


class StatesProjection(nn.Module):
    """Token states to the width that a trunk attends to."""

    def __init__(self, states_width: int, width: int | None) -> None:
        super().__init__()
        self.width = width or states_width
        self.project = nn.Identity() if width is None else nn.Linear(states_width, width)

    def forward(self, states_BLD: Tensor) -> Tensor:
        """Vectors of shape (B, L, D)."""
        return self.project(states_BLD)


def _load(config: PretrainedTextConfig) -> tuple[Any, Any]:
    try:
        import transformers
    except ImportError as error:
        raise ConfigError("text.kind is pretrained; it needs transformers; pip install reelmill[pretrained]") from error
    name = path_or_hub_id(config.path)
    given = {} if config.revision is None else {"revision": config.revision}
    tokenizer = transformers.AutoTokenizer.from_pretrained(name, subfolder=config.tokenizer_subfolder or "", **given)
    place = {"subfolder": config.subfolder or "", **given}
    kind = transformers.AutoConfig.from_pretrained(name, **place).model_type
    classes = {
        "clip": "CLIPTextModel",
        "clip_text_model": "CLIPTextModel",
        "t5": "T5EncoderModel",
        "umt5": "UMT5EncoderModel",
        "mt5": "MT5EncoderModel",
    }
    model = getattr(transformers, classes.get(kind, "AutoModel")).from_pretrained(name, **place)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer, model.eval().requires_grad_(False)
