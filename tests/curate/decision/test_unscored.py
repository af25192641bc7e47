from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from curate.ask.finished import finished_run
from curate.ask.late import decide_late
from curate.config import CurateConfig
from curate.decision.decide import decide
from curate.decision.unscored import columns_not_scored, lacks, passes
from curate.pipeline import Pipeline
from shards.config import parse_config
from shards.schema import VIDEO
from tests.curate.tables import clip, clips_of, video, videos_of

ROWS = [
    clip("a", 0, 50, flow_mag=0.5, not_scored="caption;caption_source"),
    clip("a", 50, 80, flow_mag=2.0, caption="words"),
    clip("a", 80, 90, flow_mag=None, not_scored="caption;caption_source"),
    clip("a", 90, 100, "fade"),
]


def test_a_row_lacks_a_column_by_its_whole_name():
    clips = clips_of(*ROWS, extra=tuple(_schema("flow_mag", "caption")))
    assert lacks(clips, ["caption"]).tolist() == [True, False, True, False]
    assert lacks(clips, ["capt", "flow_mag"]).tolist() == [False] * 4
    assert columns_not_scored(clips) == ["caption", "caption_source"]


def test_only_a_clip_that_every_rule_answers_with_true_passes():
    plan = Pipeline.of(parse_config(CurateConfig, {"keep": {"motion": "flow_mag >= 0.4", "no": "caption IS NULL"}}))
    clips = clips_of(*ROWS, extra=tuple(_schema("flow_mag", "caption")))
    assert passes(clips, plan.clip_rules[:1]).tolist() == [True, True, False, False]
    assert passes(clips, plan.clip_rules).tolist() == [False] * 4  # a caption that was not made is not null on purpose


def test_loosened_rules_name_what_is_lacking_instead_of_deciding_on_nothing(tmp_path: Path):
    plan = Pipeline.of(parse_config(CurateConfig, config := {"keep": {"motion": "flow_mag >= 1"}}))
    videos = videos_of(video("a"))
    clips = decide(clips_of(*ROWS, extra=tuple(plan.clip_schema)[len(_clip_names()) :]), videos, plan.clip_rules)
    (tmp_path / "catalog").mkdir()
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    pq.write_table(clips, tmp_path / "catalog" / "clips.parquet")
    pq.write_table(videos.cast(VIDEO), tmp_path / "catalog" / "videos.parquet")
    looser = ["keep.motion=flow_mag >= 0.1", "keep.words=caption IS NOT NULL"]
    tried = decide_late(finished_run(tmp_path), looser).redecision
    assert tried.unscored == [ROWS[0]["clip_id"]]
    assert (tried.gained, tried.lost) == ([], [])
    assert "undecided 1: without caption, caption_source; `curate run` scores these" in tried.describe()


def _schema(*names: str) -> list[pa.Field]:
    schema = Pipeline.of(CurateConfig()).clip_schema
    return [schema.field(name) for name in names]


def _clip_names() -> list[str]:
    return list(clips_of(extra=()).column_names)
