"""Caption of a clip: text that came with the source, or BLIP-2's words for its frames laid out as one picture."""

import fnmatch
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from curate.models.caption_layout import Layout, tile_frames
from curate.models.model_stage import ModelStage, Scores
from curate.models.runtime import Runtime
from curate.models.weights import ModelRef, NeededModel, Weights
from curate.stage import ClipFrames
from shards.config import Config
from shards.errors import ClipError
from shards.schema import column

if TYPE_CHECKING:
    from curate.models.blip2 import Blip2Captioner

SIDECAR = "sidecar"


class CaptionConfig(Config):
    """Where captions come from."""

    source: Literal["sidecar_first", "model", "sidecar"] = Field(
        default="sidecar_first",
        description="Text that came with the source if there is any, else the model; or only one of them.",
    )
    model: ModelRef | None = Field(
        default=None, description="BLIP-2: folder of save_pretrained, or hub id; null for no captioner."
    )
    required: bool = Field(
        default=True, description="Without the model the run does not start; else model captions are null."
    )
    only_uri_glob: str | None = Field(
        default=None,
        description="The captioner is for sources whose uri matches (`*` crosses `/`); others get none, with the code "
        "captioner_not_for_source.",
    )
    layout: Layout = Field(
        default="grid", description="How frames become one picture; what the captioner was trained on."
    )
    tile_px: int = Field(default=224, ge=8, description="Side of one tile of the picture.")
    prompt: str = Field(
        default="", description="Text that the captioner continues. Never contains anything from the source."
    )
    max_new_tokens: int = Field(default=40, ge=1, description="Longest caption, in the captioner's tokens.")
    num_beams: int = Field(default=1, ge=1, description="Beams of the search; 1 is greedy.")
    batch_size: int = Field(default=8, ge=1, description="Clips per forward pass.")
    runtime: Runtime = Runtime()


class Caption(ModelStage[np.ndarray]):
    """One caption per clip, with where it came from."""

    name, version = "caption", 1
    reads = ("uri", "sidecar_caption")
    adds = pa.schema(
        [
            column(
                "caption", pa.string(), "", "What the clip shows, one line. From a sidecar: attacker-controlled text."
            ),
            column(
                "caption_source", pa.string(), "", "sidecar, or the caption model's name; null if there is no caption."
            ),
            column("caption_prompt", pa.string(), "", "Prompt and layout given to the model; null for a sidecar."),
            column("caption_revision", pa.string(), "", "Commit or sha256 of the model's weights; null for a sidecar."),
        ]
    )

    def __init__(self, config: CaptionConfig) -> None:
        super().__init__()
        self.config, self.batch_size = config, config.batch_size
        self._model: Blip2Captioner | None = None
        self._weights: Weights | None = None

    def needs(self) -> list[NeededModel]:
        """The captioner, if there is one and it may be asked."""
        if self.config.model is None or self.config.source == "sidecar":
            return []
        return [NeededModel("caption.model", self.config.model, self.config.required)]

    def parameters(self) -> dict[str, Any]:
        """Everything but where the model lies and where it runs."""
        values = self.config.model_dump(mode="json", exclude={"model", "required", "runtime"})
        return {**values, "dtype": self.config.runtime.dtype}

    def needs_frames(self, row: Mapping[str, Any]) -> bool:
        """Not if the sidecar's text is taken."""
        return self._sidecar(row) is None

    def load(self, weights: Mapping[str, Weights]) -> None:
        """Load the captioner, if there is one."""
        if not weights:
            return
        from curate.models.blip2 import Blip2Captioner

        config, self._weights = self.config, weights["model"]
        self._model = Blip2Captioner(
            self._weights,
            config.runtime,
            prompt=config.prompt,
            max_new_tokens=config.max_new_tokens,
            num_beams=config.num_beams,
            key="caption",
        )

    def prepare(self, item: ClipFrames) -> np.ndarray | Scores:
        """The sidecar's text as scores, or the picture that the captioner will see."""
        row = item.clip.row
        sidecar = self._sidecar(row)
        if sidecar is not None:
            return {"caption": sidecar, "caption_source": SIDECAR, "caption_prompt": None, "caption_revision": None}
        self._check_captioner(row["uri"])
        return tile_frames(item.rgb, self.config.layout, self.config.tile_px)

    def infer(self, inputs: Sequence[np.ndarray]) -> list[Scores | ClipError]:
        """All captions of the batch in one call."""
        assert self._model is not None
        return [self._scores(caption) for caption in self._model.caption(inputs)]

    def _scores(self, caption: str) -> Scores | ClipError:
        if not caption:
            return ClipError("caption is empty; words are needed; change caption.prompt or the model", "caption_empty")
        assert self._weights is not None
        return {
            "caption": caption,
            "caption_source": self._weights.name,
            "caption_prompt": f"{self.config.layout}: {self.config.prompt}",
            "caption_revision": self._weights.revision,
        }

    def _check_captioner(self, uri: str) -> None:
        glob = self.config.only_uri_glob
        if not self.needs():
            raise ClipError("source has no caption and caption.model is not used; set it, or add text", "no_captioner")
        if glob is not None and not fnmatch.fnmatchcase(uri, glob):
            raise ClipError(f"uri does not match {glob}; widen caption.only_uri_glob", "captioner_not_for_source")
        self.check_model()

    def _sidecar(self, row: Mapping[str, Any]) -> str | None:
        """The source's own text as one printable line, if it is to be used and says anything."""
        if self.config.source == "model":
            return None
        text = "".join(char if char.isprintable() else " " for char in row["sidecar_caption"] or "")
        return " ".join(text.split()) or None
