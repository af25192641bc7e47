"""Aesthetic score of a clip: LAION's head over the CLIP embedding that the embed stage made."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from curate.models.aesthetic_head import AestheticHead, load_aesthetic_head
from curate.models.embed import EmbedConfig
from curate.models.model_stage import ModelStage, Scores
from curate.models.weights import ModelRef, NeededModel, Weights
from curate.stage import ClipFrames
from shards.config import Config
from shards.errors import ClipError, ConfigError
from shards.schema import column

QUICK = (
    "-quickgelu"  # an activation in open_clip's names, not other weights: ViT-B-32-quickgelu/openai is ViT-B-32/openai
)


class AestheticConfig(Config):
    """Which head."""

    head: ModelRef = Field(description="State dict of a LAION head.")
    trained_on: str = Field(
        description="<architecture>/<training> of the CLIP that the head was trained on, e.g. ViT-L-14/openai; "
        "must be embed.clip.name (with or without -quickgelu)."
    )
    required: bool = Field(
        default=True, description="Without the head the run does not start; else its column is null."
    )


class Aesthetic(ModelStage[np.ndarray]):
    """Mean of the frames' scores; exact, because the head is affine and the embed stage keeps the mean's length."""

    name, version = "aesthetic", 1
    reads = ("embedding", "embedding_agreement")
    adds = pa.schema([column("aesthetic", pa.float32(), "", "LAION aesthetic score, about 1 to 10; mean over frames.")])

    def __init__(self, config: AestheticConfig, embed: EmbedConfig | None) -> None:
        """Bind the head to the embedding it will be given.

        Raises:
            ConfigError: there is no embedding, or the head was trained on another CLIP.
        """
        super().__init__()
        if embed is None:
            raise ConfigError("embed is not set; aesthetic needs it; set embed, or leave aesthetic out")
        self.config, self.dim = config, embed.clip.dim
        if config.trained_on.replace(QUICK, "") != embed.clip.name.replace(QUICK, ""):
            raise ConfigError(
                f"aesthetic.trained_on is {config.trained_on!r}; embed.clip.name is {embed.clip.name!r}, and a head is "
                "allowed only on the CLIP it was trained on; change aesthetic.head or embed.clip"
            )
        self._head: AestheticHead | None = None

    def needs(self) -> list[NeededModel]:
        """The head."""
        return [NeededModel("aesthetic.head", self.config.head, self.config.required)]

    def parameters(self) -> dict[str, Any]:
        """Which CLIP."""
        return {"trained_on": self.config.trained_on}

    def needs_frames(self, row: Mapping[str, Any]) -> bool:
        """It goes by the embedding alone."""
        return False

    def load(self, weights: Mapping[str, Weights]) -> None:
        """Load the head.

        Raises:
            ConfigError: it is for embeddings of another size.
        """
        self._head = load_aesthetic_head(weights["head"].path, "aesthetic.head")
        if len(self._head.weight) != self.dim:
            raise ConfigError(
                f"aesthetic.head takes {len(self._head.weight)} dimensions; embed.clip.dim is {self.dim}, and they "
                "must be equal; change aesthetic.head or embed.clip"
            )

    def prepare(self, item: ClipFrames) -> np.ndarray:
        """Mean of the frames' unit embeddings, not brought to unit length."""
        self.check_model()
        row = item.clip.row
        if row["embedding"] is None:
            raise ClipError("clip has no embedding; the head needs one; see the code of embed", "no_embedding")
        return np.asarray(row["embedding"], np.float32) * np.float32(row["embedding_agreement"])

    def infer(self, inputs: Sequence[np.ndarray]) -> list[Scores | ClipError]:
        """One score per embedding."""
        assert self._head is not None
        return [{"aesthetic": self._head.score(mean_D)} for mean_D in inputs]
