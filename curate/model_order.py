"""Which model of a step runs first: decided once per run by what the first videos cost and how many they drop.

Models that do not read each other's columns may run in any order; the cheaper and the stricter one first saves the
others' work. The order changes which scores of dropped clips are null, and which of their false rules names the
rejection, but never what is kept. It is written into the run directory before any other video is scored, so that
reruns, other machines and other executors go by the same measurement.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from curate.decision.rules import Rule
from curate.decision.unscored import lacks
from curate.modelling import models_name
from curate.pipeline import Pipeline
from curate.rundir import Part, RunDir, read_json, write_json
from curate.stage import FrameStage
from shards.ids import digest
from shards.schema import SEGMENT_CLIP

pc: Any = pyarrow.compute  # its stubs refuse the plain values that the functions take

TRIAL_VIDEOS = 16
_MIN_CLIPS = 8  # that every model must have seen, else nothing is known
_WORTH = 0.8  # a clock's noise must not reorder: the expected cost has to fall below this share
_KEY_DIGITS = 16


@dataclass(frozen=True)
class Measured:
    """What the first videos showed.

    Attributes:
        s_per_clip: stage -> wall seconds per clip that it saw.
        pass_share: rule -> share of the clips it has an answer for that pass.
        clips: stage -> clips that it saw.
    """

    s_per_clip: Mapping[str, float]
    pass_share: Mapping[str, float]
    clips: Mapping[str, int]


def orders(stages: Sequence[FrameStage]) -> list[tuple[str, ...]]:
    """All orders in which every stage comes after those whose columns it reads; the configured one first."""
    adds = {name: stage.name for stage in stages for name in stage.adds.names}
    after = {stage.name: {adds[name] for name in stage.reads if name in adds} for stage in stages}
    found = permutations([stage.name for stage in stages])
    return [order for order in found if all(after[name] <= {*order[:place]} for place, name in enumerate(order))]


def expected_s(pipeline: Pipeline, measured: Measured) -> float:
    """Wall seconds of all models per candidate clip, rules taken as independent of each other."""
    total_s, reaches = 0.0, 1.0
    asked: set[str] = set()
    for stage in pipeline.frame_stages:
        for rule in pipeline.gate(stage):
            if rule.name not in asked:
                asked.add(rule.name)
                reaches *= measured.pass_share.get(rule.name, 1.0)
        total_s += reaches * measured.s_per_clip[stage.name]
    return total_s


def best_order(pipeline: Pipeline, measured: Measured) -> tuple[str, ...]:
    """The order of least expected cost; the configured one unless another is clearly better."""
    found = orders(pipeline.frame_stages)
    costs = [expected_s(pipeline.ordered(order), measured) for order in found]
    least = min(range(len(found)), key=costs.__getitem__)
    return found[least] if costs[least] < _WORTH * costs[0] else found[0]


def has_choice(pipeline: Pipeline) -> bool:
    """Whether another order could save anything: some rule reads what a model adds, and models may change places."""
    found = orders(pipeline.frame_stages)
    return len({_gates(pipeline.ordered(order)) for order in found}) > 1


def trial_parts(pipeline: Pipeline, run_dir: RunDir, parts: Sequence[Part]) -> list[Part]:
    """The first new parts, whose videos are scored in the configured order and measured; none if it is settled."""
    new = [part for part in parts if not run_dir.part("models", models_name(part.name, pipeline)).is_file()]
    if not new or order_path(run_dir, pipeline).is_file() or not has_choice(pipeline):
        return []
    trial, num_videos = [], 0
    for part in new:
        if num_videos >= TRIAL_VIDEOS:
            return trial
        trial.append(part)
        num_videos += len(part.videos)
    return []  # all are trials: there is nothing to save


def settle_order(pipeline: Pipeline, run_dir: RunDir, trial: Sequence[Part]) -> tuple[str, ...]:
    """Decide by the trial parts and write it down."""
    measured = measure(pipeline, run_dir, trial)
    seen = min(measured.clips.values(), default=0)
    order = best_order(pipeline, measured) if seen >= _MIN_CLIPS else orders(pipeline.frame_stages)[0]
    record = {"models": list(order), "configured": [stage.name for stage in pipeline.frame_stages], **asdict(measured)}
    if seen >= _MIN_CLIPS:
        record["s_per_candidate"] = expected_s(pipeline.ordered(order), measured)
        record["s_per_candidate_configured"] = expected_s(pipeline, measured)
    write_json(order_path(run_dir, pipeline), record)
    return order


def known_order(pipeline: Pipeline, run_dir: RunDir) -> tuple[str, ...]:
    """The order that this run directory settled on for these models and rules; () for the configured one."""
    path = order_path(run_dir, pipeline)
    return tuple(read_json(path)["models"]) if path.is_file() else ()


def order_path(run_dir: RunDir, pipeline: Pipeline) -> Path:
    """Where the measurement lies; other models or rules have another one."""
    rules = [(rule.name, rule.expression) for rule in pipeline.clip_rules]
    key = digest([pipeline.model_identity, rules])[:_KEY_DIGITS]
    return run_dir.root / "parts" / "order" / f"{key}.json"


def measure(pipeline: Pipeline, run_dir: RunDir, parts: Sequence[Part]) -> Measured:
    """Costs and answers of scored parts."""
    names = [models_name(part.name, pipeline) for part in parts]
    wall_s, clips = dict.fromkeys(_names(pipeline), 0.0), dict.fromkeys(_names(pipeline), 0)
    for name in names:
        for stage, entry in read_json(run_dir.costs("models", name))["steps"].items():
            wall_s[stage] += entry["wall_s"]
            clips[stage] += int(entry["items"])
    rules = [rule for stage in pipeline.frame_stages for rule in pipeline.fires[stage.name]]
    columns = dict.fromkeys(["segment", "not_scored", *(column for rule in rules for column in rule.columns)])
    there = set(pipeline.clip_schema.names) - set(pipeline.gather.adds.names)
    read = [name for name in columns if name in there]
    rows = pa.concat_tables(pq.read_table(run_dir.part("models", name), columns=read) for name in names)
    return Measured(
        {name: wall_s[name] / max(1, clips[name]) for name in wall_s},
        {rule.name: _pass_share(rule, rows) for rule in rules},
        clips,
    )


def _pass_share(rule: Rule, rows: pa.Table) -> float:
    """Of the clips for which the rule was asked; 1.0 if of none."""
    asked = rows.filter(pa.array(~lacks(rows, rule.columns))).filter(pc.field("segment") == SEGMENT_CLIP)
    return pc.sum(rule.evaluate(asked).fill_null(False)).as_py() / len(asked) if len(asked) else 1.0


def _gates(pipeline: Pipeline) -> tuple[tuple[str, frozenset[str]], ...]:
    """What each model's gate is, in any order of the models."""
    gates = ((stage.name, frozenset(rule.name for rule in pipeline.gate(stage))) for stage in pipeline.frame_stages)
    return tuple(sorted(gates, key=lambda gate: gate[0]))


def _names(pipeline: Pipeline) -> list[str]:
    return [stage.name for stage in pipeline.frame_stages]
