"""What the model stages share: which weights they need, what a missing one does, one bad clip apart from its batch."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Generic, TypeVar, cast

import pyarrow as pa

from curate.models.weights import NeededModel, Weights, resolve
from curate.stage import Clip, ClipFrames, FrameStage
from shards.errors import ClipError, ConfigError

Input = TypeVar("Input")
Scores = Mapping[str, object]


class ModelStage(FrameStage, Generic[Input]):
    """A frame stage over pretrained weights.

    A subclass says what it needs (`needs`), turns one clip into a model input (`prepare`) and runs the model on a batch
    of inputs (`infer`). A ClipError of `prepare` concerns that clip alone.
    """

    def __init__(self) -> None:
        self._found: dict[str, Weights | None] | None = None

    @abstractmethod
    def needs(self) -> list[NeededModel]:
        """The models that this stage is configured to use."""

    @abstractmethod
    def load(self, weights: Mapping[str, Weights]) -> None:
        """Load the models found, by the last part of their key; called only if none is missing."""

    @abstractmethod
    def prepare(self, item: ClipFrames) -> Input | Scores:
        """The model's input for one clip, or its scores if no model has to be asked; a ClipError says why neither."""

    @abstractmethod
    def infer(self, inputs: Sequence[Input]) -> list[Scores | ClipError]:
        """One result per input, in order; never called with none."""

    def needs_frames(self, row: Mapping[str, Any]) -> bool:
        """Whether this row cannot be scored without frames."""
        return True

    def parameters(self) -> dict[str, Any]:
        """What of the configuration the values depend on: goes into the identity."""
        return {}

    def identity(self) -> dict[str, Any]:
        """Name, version, parameters and the hashes of the weights; null for an optional model that is missing.

        Call it where the plan is made: afterwards `open` refuses to go on without weights that were there then.
        """
        found = self._find(download=True)
        hashes = {key: weights.revision if weights else None for key, weights in found.items()}
        return {**super().identity(), **self.parameters(), "weights": hashes}

    def open(self) -> None:
        """Load the models, unless an optional one is missing.

        Raises:
            ConfigError: a required model is missing, or one that was there when the plan was made.
        """
        planned = self._found or {}
        found = self._find(download=True)
        lost = [key for key, weights in planned.items() if weights is not None and found[key] is None]
        if lost:
            raise ConfigError(
                f"{lost} were there when the run was planned; every machine needs them; copy them here too"
            )
        if not self.missing:
            self.load({key.rpartition(".")[2]: weights for key, weights in found.items() if weights is not None})

    @property
    def missing(self) -> list[str]:
        """Keys of the optional models that were looked for and not found."""
        return [key for key, weights in (self._found or {}).items() if weights is None]

    def run(self, clips: pa.Table, frames: Sequence[ClipFrames | ClipError | None]) -> pa.Table:
        """All rows, with the columns of `adds`; every earlier column is in `clip.row`."""
        items = [self._item(row, item) for row, item in zip(clips.to_pylist(), frames, strict=True)]
        return super().run(clips, items)

    def score_batch(self, batch: Sequence[ClipFrames]) -> list[Scores | ClipError]:
        """Prepare each clip, run the model on those that need it, put the results back in order."""
        prepared = [self._try_prepare(item) for item in batch]
        inputs = [cast(Input, item) for item in prepared if not isinstance(item, (Mapping, ClipError))]
        results = iter(self.infer(inputs) if inputs else [])
        return [item if isinstance(item, (Mapping, ClipError)) else next(results) for item in prepared]

    def check_model(self) -> None:
        """To be called by `prepare` before it does work for a model.

        Raises:
            ClipError: an optional model is missing.
        """
        if self.missing:
            raise ClipError(
                f"{', '.join(self.missing)} is missing; see the start of the run; provide the weights", "model_missing"
            )

    def _find(self, download: bool) -> dict[str, Weights | None]:
        found: dict[str, Weights | None] = {}
        for model in self.needs():
            try:
                found[model.key] = resolve(model.ref, model.key, download)
            except ConfigError:
                if model.required:
                    raise
                found[model.key] = None
        self._found = found
        return found

    def _item(self, row: dict[str, Any], item: ClipFrames | ClipError | None) -> ClipFrames | ClipError | None:
        if item is None:
            return None
        if isinstance(item, ClipError):
            return item if self.needs_frames(row) else ClipFrames(Clip.of(row), (), ())
        return replace(item, clip=Clip.of(row))

    def _try_prepare(self, item: ClipFrames) -> Input | Scores | ClipError:
        try:
            return self.prepare(item)
        except ClipError as error:
            return error
