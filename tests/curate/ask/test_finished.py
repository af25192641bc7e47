from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.ask.finished import finished_run, missing_scores
from curate.config import CurateConfig
from curate.stage import SpanStage
from shards.errors import ConfigError
from shards.schema import column
from tests.curate import run_dirs
from tests.curate.tables import clip, clips_of


class Scored(SpanStage):
    """A stage that adds one column of its own name."""

    def __init__(self, name: str) -> None:
        self.name, self.adds = name, pa.schema([column(name, pa.float32(), "", "")])  # pyright: ignore[reportAttributeAccessIssue]

    def score(self, clip: object, span: object) -> dict[str, object]:
        return {self.name: 0.0}


def test_only_a_score_that_no_stage_looked_at_is_missing():
    """The second was looked at and is too short; the third was left out; the fourth is no clip."""
    rows = [
        clip("a", 0, 10, motion=1.0),
        clip("a", 10, 11, error="motion:clip_too_short"),
        clip("a", 11, 30, error="light:clip_too_short", not_scored="aesthetic;motion"),
        clip("a", 30, 40, segment="fade"),
    ]
    table, missing = missing_scores(clips_of(*rows), [Scored("motion")])
    assert {name: mask_N.tolist() for name, mask_N in missing.items()} == {"motion": [False, False, True, False]}
    assert table.column_names == clips_of().column_names


def test_a_column_that_the_catalog_does_not_have_is_missing_for_every_clip():
    table, missing = missing_scores(clips_of(clip("a", 0, 10), clip("a", 10, 20, segment="fade")), [Scored("pretty")])
    assert table["pretty"].to_pylist() == [None, None]
    assert missing["pretty"].tolist() == [True, False]


def test_vectors_are_left_out_and_are_not_missing(tmp_path: Path):
    root = run_dirs.make_run(tmp_path / "run")
    (root / "config.yaml").write_text(CurateConfig(keep=run_dirs.KEEP).to_yaml(), encoding="utf-8")
    path = root / "catalog" / "clips.parquet"
    clips = pq.read_table(path)
    pq.write_table(clips.append_column("embedding", pa.array([[0.5]] * len(clips))), path)
    run = finished_run(root)
    assert "embedding" not in run.clips.column_names
    assert "embedding" not in run.missing
    assert len(run.clips) == len(clips)


def test_only_rules_can_be_tried_on_a_finished_run(tmp_path: Path):
    root = run_dirs.make_run(tmp_path / "run")
    (root / "config.yaml").write_text(CurateConfig(keep=run_dirs.KEEP).to_yaml(), encoding="utf-8")
    run = finished_run(root)
    assert run.with_rules(["keep.moves=luma_change >= 9"]).clip_rules[0].expression == "luma_change >= 9"
    with pytest.raises(ConfigError, match=r"only rules can be tried, as --set keep\.NAME=…"):
        run.with_rules(["scenes.min_clip_s=3"])


def test_a_folder_without_its_configuration_is_refused(tmp_path: Path):
    root = run_dirs.make_run(tmp_path / "run")
    (root / "config.yaml").unlink()
    with pytest.raises(ConfigError, match=r"config\.yaml is absent"):
        finished_run(root)
