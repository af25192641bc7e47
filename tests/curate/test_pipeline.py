from typing import Any

import pyarrow as pa
import pytest

import curate.pipeline
from curate.config import CurateConfig
from curate.pipeline import Pipeline
from curate.stage import SpanStage
from shards.config import parse_config
from shards.errors import ConfigError, ContractError
from shards.schema import column


def pipeline(**config: Any) -> Pipeline:
    return Pipeline.of(parse_config(CurateConfig, config))


def test_rules_over_key_frames_run_before_the_scan_and_the_others_after_it():
    built = pipeline(keep={"bright": "key_luma_mean >= 20", "motion": "flow_mag >= 0.01"})
    assert [rule.name for rule in built.video_rules] == ["bright"]
    assert [rule.name for rule in built.clip_rules] == ["motion"]


def test_a_rule_fires_at_the_first_step_whose_columns_it_has():
    steps = pipeline(keep={"both": "flow_mag >= 0.01 AND luma_mean >= 20", "motion": "flow_mag >= 0.01"}).steps()
    fires = {rule: step["name"] for step in steps for rule in step["rules"]}
    assert fires == {"motion": "motion", "both": "light"}


def test_a_rule_over_a_column_that_no_stage_adds_is_refused():
    with pytest.raises(ConfigError, match="aesthetic"):
        pipeline(keep={"pretty": "aesthetic >= 5"})


def test_a_column_that_is_added_twice_is_refused(monkeypatch: pytest.MonkeyPatch):
    class Again(SpanStage):
        name = "again"
        adds = pa.schema([column("flow_mag", pa.float32(), "", "Twice.")])

        def score(self, clip: object, span: object) -> dict[str, object]:
            return {"flow_mag": 0.0}

    own = curate.pipeline.span_stages
    monkeypatch.setattr(curate.pipeline, "span_stages", lambda config: [*own(config), Again()])
    with pytest.raises(ContractError, match=r"again adds \['flow_mag'\] again"):
        pipeline()


def test_the_identity_of_the_scan_depends_on_its_options_and_not_on_where_it_runs():
    plain = pipeline().scan_identity
    assert pipeline(run={"workers": 7}).scan_identity == plain
    assert pipeline(scenes={"min_clip_s": 3}).scan_identity != plain


def test_a_changed_clip_rule_scans_nothing_again():
    assert pipeline(keep={"motion": "flow_mag >= 0.5"}).scan_identity == pipeline().scan_identity


def test_a_missing_model_is_named_with_its_key_before_anything_runs():
    with pytest.raises(ConfigError, match=r"caption\.model"):
        pipeline(caption={"model": {"path": "/nowhere/blip2"}}).require_models()


def test_rules_fire_by_step_whatever_their_order_and_a_model_stands_behind_those_before_it():
    keep = {
        "caption": "caption IS NOT NULL",
        "light": "luma_mean >= 24",
        "long": "num_frames >= 9",
        "unique": "NOT is_duplicate",
    }
    built = pipeline(keep=keep)
    assert [rule.name for rule in built.clip_rules] == ["long", "light", "caption", "unique"]
    (captions,) = built.frame_stages
    assert [rule.name for rule in built.gate(captions)] == ["long", "light"]
    assert pipeline(keep=keep, score_all=True).gate(captions) == []


def test_the_plan_says_what_each_step_reads_adds_sees_and_takes():
    built = pipeline(keep={"light": "luma_mean >= 24", "words": "caption IS NOT NULL"}, run={"model_gpus": 0.25})
    steps = {step["name"]: step for step in built.steps()}
    assert steps["light"]["rules"] == {"light": "luma_mean >= 24"}
    assert (steps["caption"]["after"], steps["caption"]["reads"]) == (["light"], ["uri", "sidecar_caption"])
    assert steps["pack"]["after"] == ["light", "words"]
    text = built.describe().splitlines()
    at = next(index for index, line in enumerate(text) if line.startswith("caption"))
    assert text[at].endswith("batches of 8; in Ray 1 process with 0.5 CPU and 0.25 GPU")
    assert text[at + 1] == "    sees  only rows that pass light"
