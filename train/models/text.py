"""Text: a word vocabulary made from captions, a small transformer, and text x time.

Text reaches each frame as a polynomial in time. Three projections of the text, e_t = P0 + tau P1 + tau^2 P2 with tau in
[-1, 1] over the clip: "left" and "right" differ in the sign of the product of text and time, which a sum of a text
vector and a time vector cannot say.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import Discriminator, Field, Tag
from torch import Tensor, nn

from shards.config import Config
from shards.errors import ConfigError, ContractError
from train.models.layers import sines
from train.models.text_pretrained import PretrainedText, PretrainedTextConfig, StatesProjection

PAD, UNKNOWN = 0, 1
_SPECIAL = ["<pad>", "<unknown>"]
_WORD = re.compile(r"\w+(?:['’-]\w+)*")


class WordsConfig(Config):
    """Vocabulary and encoder of captions, both made from the training split."""

    kind: Literal["words"] = "words"
    max_words: int = Field(default=8, ge=1, description="Words of a caption that are read; later ones are cut off.")
    max_vocabulary: int = Field(default=4096, ge=3, description="Most frequent words kept; others become <unknown>.")
    width: int = Field(default=64, ge=8, description="Width of word vectors.")
    num_layers: int = Field(default=1, ge=0, description="Transformer layers.")
    num_heads: int = Field(default=4, ge=1, description="Attention heads; divides the width.")


def _kind(value: Any) -> str:
    return value.get("kind", "words") if isinstance(value, dict) else value.kind


TextConfig = Annotated[
    Annotated[WordsConfig, Tag("words")] | Annotated[PretrainedTextConfig, Tag("pretrained")], Discriminator(_kind)
]


class Vocabulary:
    """Lower-case words to ids: 0 pads (and alone is the empty text), 1 is unknown."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = list(words)
        self._ids = {word: index for index, word in enumerate(_SPECIAL + self.words)}

    @classmethod
    def of(cls, captions: Iterable[str], config: WordsConfig) -> "Vocabulary":
        """Words by falling frequency, ties by alphabet: the same captions in any order give the same vocabulary.

        Raises:
            ConfigError: no caption has a word.
        """
        counts = Counter(word for caption in captions for word in split_words(caption))
        if not counts:
            raise ConfigError(
                "captions hold 0 words; at least one is needed; caption the clips or set plan.require_caption"
            )
        ranked = sorted(counts, key=lambda word: (-counts[word], word))
        return cls(ranked[: config.max_vocabulary - len(_SPECIAL)])

    def __len__(self) -> int:
        return len(self._ids)

    def encode(self, captions: Sequence[str], max_words: int) -> Tensor:
        """Word ids, int64 of shape (B, L), padded with 0."""
        ids_BL = torch.zeros(len(captions), max_words, dtype=torch.int64)
        for row, caption in enumerate(captions):
            ids = [self._ids.get(word, UNKNOWN) for word in split_words(caption)][:max_words]
            ids_BL[row, : len(ids)] = torch.tensor(ids, dtype=torch.int64)
        return ids_BL

    def document(self) -> list[str]:
        """What a checkpoint says of it."""
        return self.words

    def unknown(self, caption: str) -> list[str]:
        """Words of a caption that have no id."""
        return [word for word in split_words(caption) if word not in self._ids]


def split_words(caption: str) -> list[str]:
    """Lower-case words of a caption; inner apostrophes and hyphens belong to a word."""
    return _WORD.findall(caption.lower())


AnyText = Vocabulary | PretrainedText


def build_text(config: WordsConfig | PretrainedTextConfig, captions: Iterable[str], device: torch.device) -> AnyText:
    """What turns captions into numbers: the words of the captions, or the frozen encoder that the config names."""
    return (
        PretrainedText(config, device) if isinstance(config, PretrainedTextConfig) else Vocabulary.of(captions, config)
    )


def text_of(config: WordsConfig | PretrainedTextConfig, document: Any, device: torch.device) -> AnyText:
    """The same from what a checkpoint says.

    Raises:
        ContractError: the frozen encoder is another than that of the checkpoint.
    """
    if isinstance(config, WordsConfig) or document == []:
        return Vocabulary(document)
    text = PretrainedText(config, device)
    if text.document() != document:
        raise ContractError(
            f"text encoder {config.path} has {text.document()}; {document} was trained with; give the same back"
        )
    return text


def nothing_said(config: WordsConfig | PretrainedTextConfig, vocabulary_size: int, num_rows: int) -> Tensor:
    """The empty text of so many rows, in the form that the denoiser reads."""
    if isinstance(config, PretrainedTextConfig):
        return torch.zeros(num_rows, config.max_words, vocabulary_size)
    return torch.zeros(num_rows, config.max_words, dtype=torch.int64)


def build_text_encoder(
    config: WordsConfig | PretrainedTextConfig, vocabulary_size: int
) -> "TextEncoder | StatesProjection":
    """The trained part of the text's way in; `width` says how wide its vectors are."""
    if isinstance(config, PretrainedTextConfig):
        return StatesProjection(vocabulary_size, config.width)
    return TextEncoder(config, vocabulary_size)


class TextEncoder(nn.Module):
    """Word ids to word vectors."""

    def __init__(self, config: WordsConfig, vocabulary_size: int) -> None:
        super().__init__()
        self.width = config.width
        self.words = nn.Embedding(vocabulary_size, config.width)
        self.place = nn.Parameter(torch.randn(config.max_words, config.width) * 0.1)
        self.layers = nn.ModuleList([_layer(config) for _ in range(config.num_layers)])
        self.norm = nn.LayerNorm(config.width)

    def forward(self, words_BL: Tensor) -> Tensor:
        """Word vectors of shape (B, L, D); pads are vectors too, so that empty text is a learned vector."""
        h_BLD = self.words(words_BL) + self.place
        for layer in self.layers:
            h_BLD = layer(h_BLD)
        return self.norm(h_BLD)


def _layer(config: WordsConfig) -> nn.Module:
    return nn.TransformerEncoderLayer(
        config.width, config.num_heads, 4 * config.width, dropout=0.0, batch_first=True, norm_first=True
    )


class TextTimeFilm(nn.Module):
    """Text x time: a vector per frame and a small map per frame, both from P0 + tau P1 + tau^2 P2."""

    def __init__(self, text_width: int, width: int, layout_channels: int, layout_px: int) -> None:
        super().__init__()
        self.layout_shape = (layout_channels, layout_px, layout_px)
        self.bases = nn.Linear(text_width, 3 * width)
        self.layout = nn.Linear(width, layout_channels * layout_px**2)

    def forward(self, text_BLD: Tensor, num_frames: int) -> tuple[Tensor, Tensor]:
        """Modulation of shape (B, T, D) and layout map of shape (B, T, C, H, W)."""
        bases_B3D = self.bases(text_BLD.flatten(1)).unflatten(-1, (3, -1))
        film_BTD = torch.einsum("tk,bkd->btd", time_basis(num_frames).to(bases_B3D), bases_B3D)
        return film_BTD, self.layout(film_BTD).unflatten(-1, self.layout_shape)


def time_basis(num_frames: int) -> Tensor:
    """(1, tau, tau^2) per frame, tau evenly spaced over [-1, 1]; shape (T, 3)."""
    tau_T = torch.linspace(-1, 1, num_frames) if num_frames > 1 else torch.zeros(1)
    return torch.stack([torch.ones_like(tau_T), tau_T, tau_T**2], dim=-1)


class LevelEmbedding(nn.Module):
    """Noise level of each frame as a vector."""

    def __init__(self, width: int, features: int = 64) -> None:
        super().__init__()
        self.features = features
        self.net = nn.Sequential(nn.Linear(features, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, level_BT: Tensor) -> Tensor:
        """Vectors of shape (B, T, D)."""
        return self.net(sines(1000 * level_BT, self.features))
