"""Where model weights are: a local file or folder, or a hub id; found, and named when missing, before a run starts.

Nothing here imports torch; the hub's client is imported only for hub ids.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol, runtime_checkable

from pydantic import Field, model_validator

from shards.config import Config
from shards.errors import ConfigError
from shards.ids import folder_sha256

MODELS_VARIABLE = "REELMILL_MODELS"
UNSAFE_FILES = [
    "*.bin",
    "*.pt",
    "*.pth",
    "*.ckpt",
    "*.pkl",
    "*.msgpack",
    "*.h5",
    "*.onnx",
]  # safetensors carry the weights


class ModelRef(Config):
    """Which weights: either `path` or `hub_id`."""

    path: str | None = Field(
        default=None, description="Local file or folder of the weights, absolute or relative to $REELMILL_MODELS."
    )
    hub_id: str | None = Field(
        default=None,
        description="Hugging Face id (org/name). A copy in the local cache is used before the network is asked.",
    )
    revision: str = Field(
        default="main", description="Branch, tag or commit of the hub id; a commit makes runs repeatable."
    )
    pin_sha256: str | None = Field(
        default=None, pattern="^[0-9a-f]{64}$", description="Refuse a local path whose weights have another sha256."
    )

    @model_validator(mode="after")
    def _is_one_place(self) -> "ModelRef":
        if (self.path is None) == (self.hub_id is None):
            raise ValueError("exactly one of path and hub_id is allowed")
        if self.hub_id is not None and self.pin_sha256 is not None:
            raise ValueError("pin_sha256 pins a path; a hub_id is pinned by revision=<commit>")
        return self

    @property
    def name(self) -> str:
        """What data stores as the model: the hub id, or the last part of the path, never where it lies on a machine."""
        return self.hub_id or Path(self.path or "").name


@dataclass(frozen=True)
class Weights:
    """Weights that were found.

    Attributes:
        name: the hub id, or the name of the file or folder.
        path: the file or folder.
        revision: commit of a hub id, or sha256 of the local file or folder: equal for equal weights.
    """

    name: str
    path: Path
    revision: str


@dataclass(frozen=True)
class NeededModel:
    """A model that a stage is configured to use.

    Attributes:
        key: where the configuration names it, e.g. `caption.model`.
        ref: which weights.
        required: without it the run does not start; else the stage's columns are null with the code `model_missing`.
    """

    key: str
    ref: ModelRef
    required: bool


@runtime_checkable
class NeedsModels(Protocol):
    """A stage over pretrained weights."""

    def needs(self) -> list[NeededModel]:
        """The models that the stage is configured to use."""
        ...


def missing_models(stages: Iterable[object], required: bool = True, download: bool = True) -> list[str]:
    """One message per model that is configured and not there; call it before anything runs.

    Args:
        stages: any stages; those over pretrained weights are asked what they need.
        required: look at the models without which the run must not start, or else at the optional ones.
        download: fetch hub ids that are not in the cache; false only looks.
    """
    needed = [model for stage in stages if isinstance(stage, NeedsModels) for model in stage.needs()]
    problems = (_problem(model, download) for model in needed if model.required == required)
    return list(dict.fromkeys(problem for problem in problems if problem))


def resolve(ref: ModelRef, key: str, download: bool = True) -> Weights:
    """The weights that a reference names.

    Args:
        ref: which weights.
        key: where the configuration names them, for the error.
        download: fetch a hub id that is not in the cache.

    Raises:
        ConfigError: they are not there, or are not those that `pin_sha256` pins.
    """
    if ref.hub_id is not None:
        snapshot = _hub_snapshot(ref.hub_id, ref.revision, key, download)
        return Weights(ref.name, snapshot, snapshot.name)
    path = _local_path(ref, key)
    sha256 = weights_sha256(path)
    if ref.pin_sha256 not in (None, sha256):
        raise ConfigError(
            f"sha256 of {path} is {sha256}; {key}.pin_sha256 allows {ref.pin_sha256}; use those or change the pin"
        )
    return Weights(ref.name, path, sha256)


def _problem(model: NeededModel, download: bool) -> str | None:
    try:
        resolve(model.ref, model.key, download)
    except ConfigError as error:
        return str(error)
    return None


def weights_sha256(path: Path) -> str:
    """Identity of a weights file or folder; read once per process as long as sizes and times stay the same."""
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    stats = tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files)
    return _sha256_of_unchanged(path, stats)


@lru_cache(maxsize=64)
def _sha256_of_unchanged(path: Path, stats: tuple[tuple[str, int, int], ...]) -> str:
    del stats  # only part of the cache's key
    return folder_sha256(path)


def _local_path(ref: ModelRef, key: str) -> Path:
    given = Path(ref.path or "").expanduser()
    models = os.environ.get(MODELS_VARIABLE)
    if not given.is_absolute() and not models:
        raise ConfigError(
            f"{key}.path is {ref.path!r} and {MODELS_VARIABLE} is not set; an absolute path, or one relative to "
            f"${MODELS_VARIABLE}, is allowed; set {MODELS_VARIABLE} or {key}.path"
        )
    path = given if given.is_absolute() else Path(models or "") / given
    if not path.exists():
        raise ConfigError(
            f"{key}.path is {ref.path!r}, and {path} does not exist; a file or folder of model weights is allowed; "
            f"put it there, or change {key}.path or {MODELS_VARIABLE}"
        )
    return path


def _hub_snapshot(hub_id: str, revision: str, key: str, download: bool) -> Path:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ImportError as error:
        raise ConfigError(
            f"{key}.hub_id is {hub_id!r} and huggingface_hub is not installed; a local path works without it; "
            f"install reelmill[models] or set {key}.path"
        ) from error
    problem: Exception | None = None
    for cached_only in (True, False) if download else (True,):
        try:
            return Path(
                snapshot_download(hub_id, revision=revision, ignore_patterns=UNSAFE_FILES, local_files_only=cached_only)
            )
        except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
            problem = error
    looked = "in the local cache or on the hub" if download else "in the local cache"
    raise ConfigError(
        f"{key}.hub_id is {hub_id!r} at revision {revision!r}, which was not found {looked} "
        f"({_first_line(problem)}); a hub id or a local path is allowed; download it, or set {key}.path"
    ) from problem


def _first_line(error: Exception | None) -> str:
    return next(iter(str(error).splitlines()), "")
