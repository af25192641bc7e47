"""Other options of stages on a finished run: what would be computed anew, from what, and that a run does only that."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from curate.ask.finished import finished_run
from curate.ask.stale import stale_stages
from curate.models.caption import Caption
from curate.scores.light import Light
from reelmill.cli import run as command
from shards.errors import ConfigError
from tests.curate.tiny_runs import Calls, curated, draw


def test_what_if_says_what_a_changed_stage_is_computed_from_and_the_run_computes_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    draw(tmp_path / "in", ["a", "b"])
    (tmp_path / "in" / "a.txt").write_text("a square")
    root, keep = tmp_path / "run", {"motion": "static_share <= 1", "light": "luma_mean > 0"}
    curated(tmp_path / "in", root, keep=keep)
    capsys.readouterr()
    asked = ["curate", "what-if", str(root), "--set", "motion.still_step_levels=9", "--set", "caption.layout=single"]
    assert command([*asked, "--json"]) == 0
    *lines, values = capsys.readouterr().out.splitlines()
    told = [" ".join(line.split()) for line in lines if line.startswith("to be computed")]
    assert told == [
        "to be computed motion (changed), from one scan of 2 videos; models of the same clips are not asked again",
        "to be computed caption (changed), from spooled frames, for 2 clips at most that no known rule drops",
    ]
    found = json.loads(values)
    assert [item["stage"] for item in found["stale"]] == ["motion", "caption"]
    assert (found["then"]["clips"], found["unknown"]["clips"]) == (0, 2)
    assert found["missing"] == {"static_share": 2}
    calls, captioned = Calls(monkeypatch), list[str]()
    prepare = Caption.prepare
    monkeypatch.setattr(
        Caption, "prepare", lambda self, item: captioned.append(item.clip.clip_id) or prepare(self, item)
    )
    curated(tmp_path / "in", root, keep=keep, motion={"still_step_levels": 9})
    assert (calls.scanned, captioned) == (["a", "b"], [])
    curated(tmp_path / "in", root, keep=keep, motion={"still_step_levels": 9}, caption={"layout": "single"})
    assert (len(calls.scanned), len(captioned)) == (2, 2)
    assert sorted(str(text) for text in pq.read_table(root / "catalog/clips.parquet")["caption"].to_pylist()) == [
        "None",
        "a square",
    ]
    with monkeypatch.context() as patch:
        patch.setattr(Light, "version", 99)
        run = finished_run(root)
        steps = json.loads((root / "plan.json").read_text())["steps"]
        assert [item.stage.name for item in stale_stages(run.pipeline, run.pipeline, steps)] == ["light"]
    assert stale_stages(run.pipeline, run.pipeline, steps) == []
    with pytest.raises(ConfigError, match=r"only rules can be tried, .*, and motion, light, borders, embed"):
        run.with_stages(["scan.model_frames.interval_s=2"])
