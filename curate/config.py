"""The configuration of a curation run: one model per stage, each living beside its stage."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from curate.clips.cut import CutConfig
from curate.inputs.ingest import IngestConfig
from curate.media.child import MediaConfig
from curate.models.aesthetic import AestheticConfig
from curate.models.caption import CaptionConfig
from curate.models.caption_similarity import CaptionSimilarityConfig
from curate.models.embed import EmbedConfig
from curate.pack import PackConfig
from curate.scan import ScanConfig
from curate.scenes.segments import ScenesConfig
from curate.scores.borders import BordersConfig
from curate.scores.light import LightConfig
from curate.scores.motion import MotionConfig
from shards.config import Config, load_config
from shards.versions.splits import SplitConfig


class PoolConfig(Config):
    """What each process of a model pool reserves on Ray; null: as `run.model_…` says."""

    cpus: float | None = Field(default=None, gt=0, description="CPUs, or a fraction; null: run.model_cpus.")
    gpus: float | None = Field(default=None, ge=0, description="GPUs, or a fraction; null: run.model_gpus.")
    actors: int | None = Field(default=None, ge=1, description="Most processes; null: run.model_actors.")


class RunConfig(Config):
    """Where the work runs; nothing here changes a byte of the dataset."""

    executor: Literal["local", "ray"] = Field(default="local", description="This machine, or a Ray cluster.")
    workers: int = Field(default=0, ge=0, description="Scan and pack processes; 0 takes one per core.")
    part_videos: int = Field(
        default=4,
        ge=1,
        description="Videos per part, the unit of work and of resume; above 1, files below 256 kB count less than one.",
    )
    staging_bytes: int = Field(
        default=64 << 30, gt=0, description="Bytes of remote inputs in scratch; they are fetched ahead so far."
    )
    ray_address: str = Field(
        default="local", description="Address of a Ray cluster; `local` starts one on this machine."
    )
    ray_dashboard_host: str | None = Field(
        default="127.0.0.1", description="Where a cluster that is started here shows its dashboard; null: nowhere."
    )
    scan_cpus: float = Field(default=1, gt=0, description="CPUs that Ray reserves for a scan or pack process.")
    model_cpus: float = Field(default=0.5, gt=0, description="CPUs that Ray reserves for a model process.")
    model_gpus: float = Field(
        default=0, ge=0, description="GPUs, or a fraction, that Ray reserves for a model process."
    )
    model_actors: int = Field(default=1, ge=1, description="Most model processes.")
    pools: Mapping[str, PoolConfig] = Field(
        default={},
        description="Model stage -> what its process gets on Ray; it and those after it get a pool of their own.",
    )


class CurateConfig(Config):
    """Everything that `reelmill curate run` does."""

    ingest: IngestConfig = IngestConfig()
    media: MediaConfig = MediaConfig()
    scan: ScanConfig = ScanConfig()
    scenes: ScenesConfig = ScenesConfig()
    motion: MotionConfig = MotionConfig()
    light: LightConfig = LightConfig()
    borders: BordersConfig = BordersConfig()
    embed: EmbedConfig | None = Field(default=None, description="open_clip embedding; absent: no embedding.")
    aesthetic: AestheticConfig | None = Field(default=None, description="LAION head over the embedding; needs `embed`.")
    caption: CaptionConfig = Field(default=CaptionConfig(), description="Sidecar text, BLIP-2, or both.")
    caption_similarity: CaptionSimilarityConfig | None = Field(default=None, description="Needs `embed`.")
    keep: Mapping[str, str] = Field(
        default={}, description="Rule -> SQL-like expression; kept if all are true. Null drops a rule."
    )
    score_all: bool = Field(
        default=False, description="Run every model on every clip, also on those that a rule over other columns drops."
    )
    cut: CutConfig = CutConfig()
    pack: PackConfig = PackConfig()
    split: SplitConfig = SplitConfig()
    run: RunConfig = RunConfig()

    def data_config(self) -> dict[str, Any]:
        """What a version depends on: not where the work runs, nor its splits, nor what else is scored."""
        return {name: value for name, value in self.resolved().items() if name not in ("run", "split", "score_all")}

    @field_validator("keep", mode="before")
    @classmethod
    def _without_dropped_rules(cls, keep: object) -> object:
        """`--set keep.motion=null` takes a preset's rule away."""
        return {name: rule for name, rule in keep.items() if rule is not None} if isinstance(keep, Mapping) else keep


def load_curate_config(source: str | Path, overrides: Iterable[str] = ()) -> CurateConfig:
    """A preset or YAML file with overrides."""
    return load_config(CurateConfig, source, overrides)
