"""CLIP embedding of a clip: the mean direction of a few of its frames."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from curate.models.caption_layout import pick_frames
from curate.models.model_stage import ModelStage, Scores
from curate.models.openclip import OpenClip, OpenClipConfig, load_open_clip
from curate.models.weights import NeededModel, Weights
from curate.stage import ClipFrames
from shards.config import Config
from shards.errors import ClipError
from shards.schema import column


class EmbedConfig(Config):
    """Embedding of a clip's frames."""

    clip: OpenClipConfig
    required: bool = Field(
        default=True, description="Without the model the run does not start; else its columns are null."
    )
    num_frames: int = Field(
        default=4, ge=1, description="Evenly spaced frames that are embedded, if the clip has as many."
    )
    batch_size: int = Field(default=8, ge=1, description="Clips per forward pass.")


class Embed(ModelStage[list[np.ndarray]]):
    """Mean of the frames' unit embeddings, brought to unit length (D = `config.clip.dim`)."""

    name, version = "embed", 1
    adds = pa.schema(
        [
            column("embedding", pa.list_(pa.float32()), "", "CLIP embedding of the clip, unit length."),
            column(
                "embedding_agreement", pa.float32(), "", "Length of the frames' mean embedding: 1 if all are alike."
            ),
            column("embedding_model", pa.string(), "", "<architecture>/<training> of the CLIP."),
        ]
    )

    def __init__(self, config: EmbedConfig) -> None:
        super().__init__()
        self.config, self.batch_size = config, config.batch_size
        fixed = self.adds.field("embedding").with_type(pa.list_(pa.float32(), config.clip.dim))
        self.adds = self.adds.set(0, fixed)  # pyright: ignore[reportAttributeAccessIssue]  # D is known only per instance
        self._model: OpenClip | None = None

    def needs(self) -> list[NeededModel]:
        """The CLIP."""
        return [NeededModel("embed.clip.model", self.config.clip.model, self.config.required)]

    def parameters(self) -> dict[str, Any]:
        """Name, number type, frames and batch."""
        clip = self.config.clip
        return {
            "clip": clip.name,
            "dtype": clip.runtime.dtype,
            "num_frames": self.config.num_frames,
            "batch_size": self.batch_size,
        }

    def load(self, weights: Mapping[str, Weights]) -> None:
        """Load the CLIP, or take the copy that another stage has loaded."""
        self._model = load_open_clip(self.config.clip, weights["model"], "embed.clip")

    def prepare(self, item: ClipFrames) -> list[np.ndarray]:
        """The frames to embed."""
        self.check_model()
        return [item.rgb[index] for index in pick_frames(len(item.rgb), self.config.num_frames)]

    def infer(self, inputs: Sequence[list[np.ndarray]]) -> list[Scores | ClipError]:
        """All frames of all clips in one forward pass."""
        assert self._model is not None
        frames_ND = self._model.embed_images([frame for frames in inputs for frame in frames])
        ends = np.cumsum([len(frames) for frames in inputs])
        return [self._scores(clip_ND) for clip_ND in np.split(frames_ND, ends[:-1])]

    def _scores(self, clip_ND: np.ndarray) -> Scores | ClipError:
        mean_D = clip_ND.mean(axis=0, dtype=np.float32)
        length = float(np.linalg.norm(mean_D))
        if not np.isfinite(length) or length < 1e-6:
            return ClipError(
                f"mean embedding has length {length}; above 0 is allowed; check the weights", "embedding_invalid"
            )
        return {
            "embedding": mean_D / np.float32(length),
            "embedding_agreement": length,
            "embedding_model": self.config.clip.name,
        }
