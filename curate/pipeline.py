"""Configuration to ordered steps, proved before anything runs: every column read exists and is added once."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pyarrow as pa

from curate.config import CurateConfig
from curate.decision.dedup import ExactDuplicates
from curate.decision.rules import Rule, compile_rules
from curate.stage import SOURCE_COLUMNS, FrameStage, SpanStage, Stage
from shards.errors import ConfigError, ContractError
from shards.ids import digest
from shards.schema import CLIP, VIDEO

SCENES = "scenes"  # the step that makes clips


@dataclass(frozen=True)
class Pipeline:
    """The stages of one configuration, in the order in which they run."""

    config: CurateConfig
    span_stages: Sequence[SpanStage]
    frame_stages: Sequence[FrameStage]
    gather: ExactDuplicates

    @classmethod
    def of(cls, config: CurateConfig) -> "Pipeline":
        """Build and prove the pipeline.

        Raises:
            ConfigError: a rule or stage reads a column that no earlier step adds.
        """
        pipeline = cls(config, span_stages(config), frame_stages(config), ExactDuplicates())
        pipeline._prove()
        return pipeline

    def ordered(self, models: Sequence[str]) -> "Pipeline":
        """The same pipeline with its models in another order, see `curate.model_order`; () is the configured one."""
        if not models:
            return self
        return replace(self, frame_stages=sorted(self.frame_stages, key=lambda stage: models.index(stage.name)))

    @cached_property
    def configured_models(self) -> list[FrameStage]:
        """The model stages in the order of the configuration: that of columns and identities, whatever runs first."""
        names = [stage.name for stage in frame_stages(self.config)]
        return sorted(self.frame_stages, key=lambda stage: names.index(stage.name))

    @property
    def stages(self) -> list[Stage]:
        """All stages, in order."""
        return [*self.span_stages, *self.frame_stages, self.gather]

    @cached_property
    def clip_schema(self) -> pa.Schema:
        """Columns of a clip's row when the rules see it."""
        return pa.schema([*CLIP, *(field for stage in self.stages for field in stage.adds)])

    @cached_property
    def video_rules(self) -> list[Rule]:
        """Rules whose columns the key frames already give: a video that fails one is not scanned."""
        keep = {name: text for name, text in self.config.keep.items() if name in self._video_rule_names}
        return compile_rules(keep, VIDEO)

    @cached_property
    def clip_rules(self) -> list[Rule]:
        """Rules over clips, in the order in which they fire: by step, and within a step as configured."""
        return [rule for rules in self.fires.values() for rule in rules]

    @cached_property
    def fires(self) -> Mapping[str, list[Rule]]:
        """Step -> rules over clips that fire at its end: the first step at which all their columns exist."""
        keep = {name: text for name, text in self.config.keep.items() if name not in self._video_rule_names}
        pending = compile_rules(keep, self.clip_schema)
        known: set[str] = set()
        fires: dict[str, list[Rule]] = {}
        for step, columns in [(SCENES, CLIP.names), *((stage.name, stage.adds.names) for stage in self.stages)]:
            known |= set(columns)
            fires[step] = [rule for rule in pending if set(rule.columns) <= known]
            pending = [rule for rule in pending if rule not in fires[step]]
        return fires

    def gate(self, stage: FrameStage) -> list[Rule]:
        """Rules that a clip must have passed before a model looks at it; none with `score_all`."""
        if self.config.score_all:
            return []
        steps = [SCENES, *(stage.name for stage in self.stages)]
        return [rule for step in steps[: steps.index(stage.name)] for rule in self.fires[step]]

    @cached_property
    def scan_identity(self) -> str:
        """What the rows of the scan depend on besides the input."""
        config = self.config
        own = [config.media, config.scan, config.scenes]
        stages = [stage.identity() for stage in self.span_stages]
        return digest([[item.resolved() for item in own], stages])

    @cached_property
    def model_identity(self) -> str:
        """What the rows of the models depend on besides the scan's rows; hashes weights."""
        return digest([self.scan_identity, [stage.identity() for stage in self.configured_models]])

    def require_models(self, download: bool = True) -> list[str]:
        """Look for every model before anything runs; returns a message for each optional one that is missing.

        Args:
            download: fetch hub ids that are not in the cache; false only looks.

        Raises:
            ConfigError: one or more that are required are missing.
        """
        from curate.models.weights import missing_models

        missing = missing_models(self.frame_stages, required=True, download=download)
        if missing:
            raise ConfigError("models are missing:\n" + "\n".join(f"  {line}" for line in missing))
        return missing_models(self.frame_stages, required=False, download=download)

    def steps(self) -> list[dict[str, Any]]:
        """One mapping per step, see `curate.plan_view.steps`."""
        from curate.plan_view import steps

        return steps(self)

    def describe(self) -> str:
        """The steps as text for people."""
        from curate.plan_view import describe

        return describe(self)

    @cached_property
    def _video_rule_names(self) -> set[str]:
        """Rules whose every column belongs to VIDEO and not to a clip."""
        own = pa.schema([field for field in VIDEO if field.name not in CLIP.names])
        both = pa.schema([*self.clip_schema, *own])
        rules = compile_rules(dict(self.config.keep), both)
        return {rule.name for rule in rules if rule.columns and set(rule.columns) <= set(own.names)}

    def _prove(self) -> None:
        known = {*CLIP.names, *SOURCE_COLUMNS}
        for stage in self.stages:
            for name in stage.reads:
                if name not in known:
                    near = ", ".join(difflib.get_close_matches(name, known, n=1)) or "a stage that adds it"
                    raise ConfigError(f"stage {stage.name} reads {name}, which no earlier stage adds; switch on {near}")
            twice = sorted(known & set(stage.adds.names))
            if twice:
                raise ContractError(f"stage {stage.name} adds {twice} again; a column is added once; rename one")
            known |= set(stage.adds.names)
        _ = self.clip_rules, self.video_rules


def span_stages(config: CurateConfig) -> list[SpanStage]:
    """Stages that score small frames, in order."""
    from curate.scores.borders import Borders
    from curate.scores.hashes import Hashes
    from curate.scores.light import Light
    from curate.scores.motion import Motion

    return [Motion(config.motion), Light(config.light), Borders(config.borders), Hashes()]


def frame_stages(config: CurateConfig) -> list[FrameStage]:
    """Stages that run models on sparse frames, in order; those that the configuration leaves out are absent."""
    from curate.models.aesthetic import Aesthetic
    from curate.models.caption import Caption
    from curate.models.caption_similarity import CaptionSimilarity
    from curate.models.embed import Embed

    stages: list[FrameStage] = []
    if config.embed:
        stages.append(Embed(config.embed))
    if config.aesthetic:
        stages.append(Aesthetic(config.aesthetic, config.embed))
    stages.append(Caption(config.caption))
    if config.caption_similarity:
        stages.append(CaptionSimilarity(config.caption_similarity, config.embed))
    return stages
