"""Configuration to ordered steps, proved before anything runs: every column read exists and is added once."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
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
        """Rules over clips, in the order of the configuration."""
        keep = {name: text for name, text in self.config.keep.items() if name not in self._video_rule_names}
        return compile_rules(keep, self.clip_schema)

    @cached_property
    def scan_identity(self) -> str:
        """What the rows of the scan depend on besides the input."""
        config = self.config
        own = [config.media, config.scan, config.scenes]
        stages = [stage.identity() for stage in self.span_stages]
        rules = [[rule.name, rule.expression] for rule in self.video_rules]
        return digest([[item.resolved() for item in own], stages, rules])

    @cached_property
    def model_identity(self) -> str:
        """What the rows of the models depend on besides the scan's rows; hashes weights."""
        return digest([self.scan_identity, [stage.identity() for stage in self.frame_stages]])

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
        """One mapping per step: name, kind, version, columns read and added, rules that can fire after it."""
        rows = [
            _step("ingest", "explode", adds=VIDEO.names[:4]),
            _step(
                "keyframes",
                "map",
                adds=[name for name in VIDEO.names if name.startswith("key_")],
                rules=self.video_rules,
            ),
            _step("scan", "map", adds=["num_frames"]),
            _step("scenes", "explode", adds=CLIP.names),
        ]
        known = set(CLIP.names)
        pending = list(self.clip_rules)
        for stage in self.stages:
            known |= set(stage.adds.names)
            ready = [rule for rule in pending if set(rule.columns) <= known]
            pending = [rule for rule in pending if rule not in ready]
            rows.append(_step(stage.name, _kind(stage), stage.version, stage.reads, stage.adds.names, ready))
        return [*rows, _step("decide", "map", adds=["status", "drop_rule", "drop_value"]), _step("pack", "write")]

    def describe(self) -> str:
        """The steps as text for people."""
        lines = []
        for step in self.steps():
            lines.append(f"{step['name']:<20} {step['kind']:<8} v{step['version']}")
            if step["reads"]:
                lines.append(f"    reads {', '.join(step['reads'])}")
            if step["adds"]:
                lines.append(f"    adds  {', '.join(step['adds'])}")
            lines += [f"    rule  {name}: {text}" for name, text in step["rules"].items()]
        return "\n".join(lines)

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


def _kind(stage: Stage) -> str:
    if isinstance(stage, SpanStage):
        return "map"
    return "model" if isinstance(stage, FrameStage) else "gather"


def _step(
    name: str,
    kind: str,
    version: int = 1,
    reads: Sequence[str] = (),
    adds: Sequence[str] = (),
    rules: Sequence[Rule] = (),
) -> dict[str, Any]:
    texts = {rule.name: rule.expression for rule in rules}
    return {"name": name, "kind": kind, "version": version, "reads": list(reads), "adds": list(adds), "rules": texts}
