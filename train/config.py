"""The configuration of training: one value for each of the twelve primitives, and what the engine needs.

| primitive           | key                         | | primitive          | key                |
| ------------------- | --------------------------- |-| ------------------ | ------------------ |
| codec               | codec, latents              | | conditions         | conditions, text   |
| spatial trunk       | trunk                       | | parameter policy   | parameters         |
| temporal mixer      | mixer                       | | sampler, guidance  | sampler            |
| temporal resampler  | resampler                   | | window policy      | windows            |
| noise prior         | noise_prior                 | | data view          | data               |
| objective           | objective                   | | method             | method             |
"""

import math
from typing import Literal

from pydantic import Field, model_validator

from shards.config import Config
from shards.plans.plan import PlanConfig
from shards.plans.view import ViewConfig, shape_of
from shards.reading.config import ReadingConfig
from shards.reading.mixture import PartConfig
from train.checkpoint import CheckpointConfig
from train.conditions import ConditionsConfig
from train.ema import EmaConfig
from train.latents import LatentsConfig
from train.metrics import MetricsConfig, PreviewsConfig
from train.models.codec import CodecConfig
from train.models.codec_transform import TransformCodecConfig
from train.models.temporal import ConvMixerConfig, MixerConfig
from train.models.text import TextConfig, WordsConfig
from train.models.trunk import TrunkConfig
from train.models.unet import UNetConfig
from train.objectives.noise import IndependentNoiseConfig, NoisePriorConfig
from train.objectives.objective import ObjectiveConfig
from train.optim import BudgetConfig, OptimConfig
from train.parallel import ParallelConfig
from train.parameters import AllParametersConfig, ParametersConfig, StartConfig
from train.precision import Precision
from train.sample.config import DdimConfig, SamplerConfig
from train.sample.windows import SingleWindowConfig, WindowsConfig


class DataConfig(Config):
    """Which clips, how they are seen, in which order."""

    uri: str | None = Field(default=None, description="Published dataset; null only if the caller brings the clips.")
    version: int | None = Field(default=None, ge=1, description="Version of the dataset; null is the newest.")
    mix: tuple[PartConfig, ...] = Field(
        default=(), description="Several datasets in place of uri, each with its share of what an epoch shows."
    )
    read: Literal["video", "latents"] = Field(
        default="video", description="latents: what `train embed` made of this view with this codec."
    )
    view: ViewConfig = Field(default_factory=ViewConfig, description="Frames, rate, size, crop.")
    plan: PlanConfig = Field(default_factory=PlanConfig, description="Split, rows, order, clips per step.")
    num_workers: int = Field(
        default=1, ge=0, description="Processes per rank that decode; 0 decodes in the training process."
    )
    reading: ReadingConfig = Field(default_factory=ReadingConfig, description="Waiting, damage, trust, storage.")

    @model_validator(mode="after")
    def _one_place(self) -> "DataConfig":
        if self.mix and (self.uri is not None or self.version is not None):
            raise ValueError(f"uri is {self.uri} beside mix; one of the two is allowed; remove uri and version, or mix")
        return self

    @model_validator(mode="after")
    def _latents_are_fixed(self) -> "DataConfig":
        if self.read == "latents" and (self.plan.images or self.view.start == "random"):
            raise ValueError(
                f"plan.images is {self.plan.images} and view.start is {self.view.start} with read: latents, which were "
                "made once of each clip; images: 0 and start: begin or center are allowed; change them"
            )
        return self

    @model_validator(mode="after")
    def _no_padding(self) -> "DataConfig":
        if self.plan.tail != "drop":
            raise ValueError(f"plan.tail is {self.plan.tail}; drop is allowed in training; padding would count twice")
        return self

    def shapes(self) -> list[tuple[int, int, int]]:
        """Frames, height and width (px) of what batches hold, the largest first."""
        view = self.view
        found = [shape_of(text) for text in view.shapes] or [(view.num_frames, view.height, view.width)]
        if self.plan.images:
            found += [(1, height, width) for _, height, width in found]
        return sorted(set(found), key=math.prod, reverse=True)


class TrainConfig(Config):
    """A training run."""

    seed: int = Field(default=0, ge=0, description="Of weights, noise, levels, text drop and the order of clips.")
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="auto is CUDA if there is one.")
    precision: Precision = Field(
        default="auto", description="Of the network: auto is bf16 where the hardware multiplies it."
    )
    num_threads: int | None = Field(default=None, ge=1, description="CPU threads of torch; null leaves them alone.")
    data: DataConfig = Field(default_factory=DataConfig, description="Clips.")
    codec: CodecConfig = Field(default_factory=TransformCodecConfig, description="Pixels to latents.")
    latents: LatentsConfig = Field(default_factory=LatentsConfig, description="Scale of latents.")
    trunk: TrunkConfig = Field(default_factory=UNetConfig, description="Spatial trunk.")
    mixer: MixerConfig = Field(default_factory=ConvMixerConfig, description="Temporal mixer at the sites of the trunk.")
    resampler: Literal["none"] = Field(
        default="none", description="Temporal resampler at sites: all keep the latent's frames."
    )
    text: TextConfig = Field(default_factory=WordsConfig, description="Vocabulary and text encoder.")
    noise_prior: NoisePriorConfig = Field(default_factory=IndependentNoiseConfig, description="Noise across frames.")
    objective: ObjectiveConfig = Field(default_factory=ObjectiveConfig, description="What the network learns.")
    conditions: ConditionsConfig = Field(default_factory=ConditionsConfig, description="What the network is told.")
    start: StartConfig | None = Field(default=None, description="Weights of step 0; null draws them from the seed.")
    parameters: ParametersConfig = Field(default_factory=AllParametersConfig, description="What trains.")
    parallel: ParallelConfig = Field(
        default_factory=ParallelConfig, description="How the model is laid over the ranks; changes no result."
    )
    optim: OptimConfig = Field(default_factory=OptimConfig, description="Optimiser and learning rate.")
    ema: EmaConfig = Field(default_factory=EmaConfig, description="Average of the weights.")
    sampler: SamplerConfig = Field(default_factory=DdimConfig, description="How samples are drawn.")
    windows: WindowsConfig = Field(
        default_factory=SingleWindowConfig, description="How long videos are cut into calls."
    )
    method: Literal["denoising", "autoencoding"] = Field(
        default="denoising",
        description="denoising: codec, then the denoiser. autoencoding: the video autoencoder alone, for runs to come.",
    )
    budget: BudgetConfig = Field(default_factory=lambda: BudgetConfig(steps=1500), description="When training ends.")
    checkpoint: CheckpointConfig = Field(default_factory=CheckpointConfig, description="Checkpoints.")
    previews: PreviewsConfig = Field(default_factory=PreviewsConfig, description="Samples drawn while training.")
    metrics: MetricsConfig = Field(default_factory=MetricsConfig, description="Reports.")

    @model_validator(mode="after")
    def _a_codec_to_train(self) -> "TrainConfig":
        if self.method == "autoencoding" and self.codec.kind != "video_autoencoder":
            raise ValueError(
                f"method is autoencoding with codec {self.codec.kind}; video_autoencoder is allowed; change one of them"
            )
        return self

    @model_validator(mode="after")
    def _mixer_has_sites(self) -> "TrainConfig":
        self.trunk.check_mixer(self.mixer)
        return self

    @model_validator(mode="after")
    def _steps_fit_the_schedule(self) -> "TrainConfig":
        if self.sampler.kind == "euler" and self.objective.schedule.kind != "flow":
            raise ValueError(
                f"sampler is euler with schedule {self.objective.schedule.kind}, whose path is no straight line; "
                "schedule flow is allowed with it, ddim and ddpm with any; change one of them"
            )
        return self

    @model_validator(mode="after")
    def _new_beside_something(self) -> "TrainConfig":
        if self.parameters.kind == "new" and self.start is None:
            raise ValueError(
                "parameters is new and start is null, so everything is new; parameters all is allowed, or a start; "
                "change one of them"
            )
        return self

    @model_validator(mode="after")
    def _columns_are_read(self) -> "TrainConfig":
        missing = [name for name in self.conditions.columns if name not in self.data.view.score_columns]
        if missing:
            raise ValueError(
                f"data.view.score_columns lacks {', '.join(missing)}; all columns that conditions tell are needed; "
                "add them"
            )
        return self
