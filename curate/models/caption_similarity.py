"""How well the caption fits the clip: cosine of the CLIP embeddings of its text and of its frames."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from curate.models.embed import EmbedConfig
from curate.models.model_stage import ModelStage, Scores
from curate.models.openclip import OpenClip, load_open_clip
from curate.models.weights import NeededModel, Weights
from curate.stage import ClipFrames
from shards.config import Config
from shards.errors import ClipError, ConfigError
from shards.schema import column


class CaptionSimilarityConfig(Config):
    """Similarity of caption and clip, by the CLIP of `embed`."""

    batch_size: int = Field(default=32, ge=1, description="Captions per forward pass.")


class CaptionSimilarity(ModelStage[tuple[str, np.ndarray]]):
    """Cosine of caption and clip; uses the embed stage's weights, loaded once per process."""

    name, version = "caption_similarity", 1
    reads = ("caption", "embedding")
    adds = pa.schema(
        [column("caption_similarity", pa.float32(), "", "Cosine of caption and clip in CLIP's space, -1 to 1.")]
    )

    def __init__(self, config: CaptionSimilarityConfig, embed: EmbedConfig | None) -> None:
        """Bind it to the CLIP of the embedding it will be given.

        Raises:
            ConfigError: there is no embedding.
        """
        super().__init__()
        if embed is None:
            raise ConfigError(
                "embed is not set; caption_similarity needs it; set embed, or leave caption_similarity out"
            )
        self.config, self.embed, self.batch_size = config, embed, config.batch_size
        self._model: OpenClip | None = None

    def needs(self) -> list[NeededModel]:
        """The CLIP of the embed stage."""
        return [NeededModel("embed.clip.model", self.embed.clip.model, self.embed.required)]

    def parameters(self) -> dict[str, Any]:
        """Name, number type and batch."""
        clip = self.embed.clip
        return {"clip": clip.name, "dtype": clip.runtime.dtype, "batch_size": self.batch_size}

    def needs_frames(self, row: Mapping[str, Any]) -> bool:
        """It goes by caption and embedding alone."""
        return False

    def load(self, weights: Mapping[str, Weights]) -> None:
        """Load the CLIP, or take the copy that another stage has loaded."""
        self._model = load_open_clip(self.embed.clip, weights["model"], "embed.clip")

    def prepare(self, item: ClipFrames) -> tuple[str, np.ndarray]:
        """The caption and the clip's embedding."""
        self.check_model()
        caption, embedding = item.clip.row["caption"], item.clip.row["embedding"]
        if caption is None:
            raise ClipError("clip has no caption; similarity needs one; see the code of caption", "no_caption")
        if embedding is None:
            raise ClipError("clip has no embedding; similarity needs one; see the code of embed", "no_embedding")
        return caption, np.asarray(embedding, np.float32)

    def infer(self, inputs: Sequence[tuple[str, np.ndarray]]) -> list[Scores | ClipError]:
        """All captions in one forward pass."""
        assert self._model is not None
        texts_ND = self._model.embed_texts([caption for caption, _ in inputs])
        pairs = zip(texts_ND, (embedding_D for _, embedding_D in inputs), strict=True)
        return [{"caption_similarity": float(text_D @ embedding_D)} for text_D, embedding_D in pairs]
