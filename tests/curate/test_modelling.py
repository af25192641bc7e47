"""Early rules: which rows a model sees, what the others are left with, and what a later, looser run adds."""

import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import curate.pipeline
import curate.scores.light
from curate.config import CurateConfig
from curate.decision.decide import decide, rule_stats
from curate.modelling import Models
from curate.pipeline import Pipeline
from curate.rundir import RunDir, write_json, write_table
from curate.stage import FrameStage
from curate.worker import FRAME, Job
from shards.config import parse_config
from shards.errors import ClipError
from shards.schema import column
from tests.curate.tables import clip, clips_of, video, videos_of

NUM_CLIPS = 10
seen: Counter[str] = Counter()


class Cheap(FrameStage):
    """Scores a clip by its place: 0, 1, 2, …; the fifth cannot be scored."""

    name = "cheap"
    adds = pa.schema([column("grade", pa.float32(), "", "Place in the video.")])

    def score_batch(self, batch) -> list[Mapping[str, object] | ClipError]:
        seen[self.name] += len(batch)
        places = [item.clip.start_pts // 10 for item in batch]
        return [{"grade": float(place)} if place != 4 else ClipError("no", "odd") for place in places]


class Costly(FrameStage):
    """Says the same word of every clip."""

    name = "costly"
    reads = ("grade",)
    adds = pa.schema(
        [column("words", pa.string(), "", "A word."), column("vector", pa.list_(pa.float32(), 2), "", "Two numbers.")]
    )

    def score_batch(self, batch) -> list[Mapping[str, object] | ClipError]:
        seen[self.name] += len(batch)
        return [{"words": "word", "vector": [item.clip.start_pts / 10, 1.0]} for item in batch]


@pytest.fixture(autouse=True)
def _two_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curate.pipeline, "frame_stages", lambda config: [Cheap(), Costly()])
    seen.clear()


def write_scan(root: Path) -> None:
    """One part of a video of ten clips and a fade; flow_mag is the clip's place, each has one frame."""
    plan = Pipeline.of(CurateConfig())
    schema = pa.schema([field for stage in plan.span_stages for field in stage.adds])
    rows = [clip("v", 10 * place, 10 * place + 10, flow_mag=float(place)) for place in range(NUM_CLIPS)]
    rows.append(clip("v", 100, 110, "fade"))
    run_dir = RunDir(root)
    write_table(run_dir.part("clips", "p"), clips_of(*rows, extra=tuple(schema)))
    write_table(run_dir.part("videos", "p"), videos_of(video("v", 110)))
    frames = [{"video_id": "v", "pts": 10 * place, "jpeg": b"1"} for place in range(NUM_CLIPS)]
    write_table(run_dir.part("frames", "p"), pa.Table.from_pylist(frames, FRAME))


def modelled(root: Path, keep: Mapping[str, str], **config: Any) -> tuple[pa.Table, Pipeline]:
    """The part's clips after the models, and the pipeline; also what `seen` counts."""
    if not RunDir(root).part("clips", "p").is_file():
        write_scan(root)
    models = Models(Job(parse_config(CurateConfig, {"keep": keep, **config}), root))
    models.run("p")
    return pq.read_table(RunDir(root).part("models", models.name_of("p"))), models.pipeline


def test_a_model_sees_only_clips_that_every_earlier_rule_lets_through(tmp_path: Path):
    """Of ten clips, 8 move; of these the fifth has no grade and only 7, 8 and 9 have one above 6."""
    clips, _ = modelled(tmp_path, {"words": "words IS NOT NULL", "grade": "grade > 6", "motion": "flow_mag >= 2"})
    assert seen == {"cheap": 8, "costly": 3}
    lacking = ["grade;words;vector"] * 2 + ["words;vector"] * 5 + [None] * 4
    assert clips["not_scored"].to_pylist() == lacking
    assert clips["grade"].to_pylist() == [None, None, 2, 3, None, 5, 6, 7, 8, 9, None]
    assert clips["vector"].to_pylist()[7:] == [[7, 1], [8, 1], [9, 1], None]
    assert clips["error"].to_pylist() == [None] * 4 + ["cheap:odd"] + [None] * 6


def test_the_drop_rule_is_the_first_that_fired_and_a_score_nobody_needed_is_no_failure(tmp_path: Path):
    """`words` is written first and fires last: it takes no clip that motion or grade dropped."""
    clips, plan = modelled(tmp_path, {"words": "words IS NOT NULL", "grade": "grade > 6", "motion": "flow_mag >= 2"})
    assert [rule.name for rule in plan.clip_rules] == ["motion", "grade", "words"]
    decided = decide(clips, videos_of(video("v", 110)), plan.clip_rules)
    ways = list(zip(decided["status"].to_pylist(), decided["drop_rule"].to_pylist(), strict=True))
    dropped = [("rejected", "motion")] * 2 + [("rejected", "grade")] * 2 + [("failed", "grade")]
    assert ways == [*dropped, *[("rejected", "grade")] * 2, *[("kept", None)] * 3, ("rejected", "segment_fade")]
    stats = {
        item.name: (item.seen, item.rejects, item.unknown, item.unscored)
        for item in rule_stats(decided, plan.clip_rules)
    }
    assert stats == {"motion": (10, 2, 0, 0), "grade": (7, 4, 1, 2), "words": (3, 0, 0, 7)}


def test_score_all_shows_every_clip_to_every_model_and_keeps_the_same(tmp_path: Path):
    keep = {"grade": "grade > 6", "motion": "flow_mag >= 2"}
    clips, plan = modelled(tmp_path, keep, score_all=True)
    assert seen == {"cheap": 10, "costly": 10}
    assert clips["not_scored"].to_pylist() == [None] * 11
    kept = decide(clips, videos_of(video("v", 110)), plan.clip_rules)["status"].to_pylist().count("kept")
    assert kept == 3


def test_loosened_rules_leave_clips_undecided_until_a_rerun_scores_those_alone(tmp_path: Path):
    videos = videos_of(video("v", 110))
    modelled(tmp_path, {"motion": "flow_mag >= 8"})
    assert seen == {"cheap": 2, "costly": 2}
    strict, _ = modelled(tmp_path, {"motion": "flow_mag >= 8"})
    assert seen == {"cheap": 2, "costly": 2}  # a rerun with the same rules opens no model

    loose = {"motion": "flow_mag >= 5", "words": "words = 'word'"}
    rules = Pipeline.of(parse_config(CurateConfig, {"keep": loose})).clip_rules
    tried = decide(strict, videos, rules)
    assert Counter(tried["status"].to_pylist()) == {"kept": 2, "unscored": 3, "rejected": 6}
    clips, _ = modelled(tmp_path, loose)
    assert seen == {"cheap": 5, "costly": 5}
    assert Counter(decide(clips, videos, rules)["status"].to_pylist()) == {"kept": 5, "rejected": 6}


def test_tightened_rules_throw_no_score_away(tmp_path: Path):
    wide, _ = modelled(tmp_path, {"motion": "flow_mag >= 2"})
    narrow, _ = modelled(tmp_path, {"motion": "flow_mag >= 8"})
    assert narrow == wide
    assert seen == {"cheap": 8, "costly": 8}


def test_two_processes_with_a_stage_each_write_what_one_with_both_does(tmp_path: Path):
    """A batch is cut by place in the part, so who holds the other stage has no say in it."""
    keep = {"words": "words IS NOT NULL", "grade": "grade > 6", "motion": "flow_mag >= 2"}
    whole, _ = modelled(tmp_path / "one", keep)
    write_scan(tmp_path / "two")
    job = Job(parse_config(CurateConfig, {"keep": keep}), tmp_path / "two")
    first, second = Models(job, ["cheap"]), Models(job, ["costly"])
    first.run("p")
    costs = second.run("p")
    assert pq.read_table(RunDir(tmp_path / "two").part("models", second.name_of("p"))) == whole
    assert {name: entry["items"] for name, entry in costs["steps"].items()} == {"cheap": 8, "costly": 3}


def test_a_changed_model_is_computed_anew_and_the_others_values_are_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Costly reads what cheap adds: another costly leaves cheap alone, another cheap does not."""
    keep = {"grade": "grade > 6", "motion": "flow_mag >= 2"}
    modelled(tmp_path / "run", keep)
    seen.clear()
    monkeypatch.setattr(Costly, "version", 2)
    changed, _ = modelled(tmp_path / "run", keep)
    assert seen == {"costly": 3}
    fresh, _ = modelled(tmp_path / "fresh", keep)
    assert changed.equals(fresh)
    seen.clear()
    monkeypatch.setattr(Cheap, "version", 2)
    assert modelled(tmp_path / "run", keep)[0].equals(fresh)
    assert seen == {"cheap": 8, "costly": 3}


def test_a_new_model_is_computed_alone_and_codes_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(curate.pipeline, "frame_stages", lambda config: [Cheap()])
    modelled(tmp_path / "run", {})
    monkeypatch.setattr(curate.pipeline, "frame_stages", lambda config: [Cheap(), Costly()])
    seen.clear()
    clips, _ = modelled(tmp_path / "run", {})
    assert seen == {"costly": 10}
    assert clips.equals(modelled(tmp_path / "fresh", {})[0])
    assert clips["error"].to_pylist().count("cheap:odd") == 1


def test_after_another_scan_of_the_same_video_models_are_not_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """As after a change of motion: a new part with the same clips and frames."""
    modelled(tmp_path, {})
    run_dir = RunDir(tmp_path)
    record = {"inputs": [{"key": "k", "uri": "v", "video_id": "v", "stopped": False}], "steps": {}, "frames": {}}
    for name in ("p", "q"):
        write_json(run_dir.costs("scan", name), record)
    for step in ("clips", "videos", "frames"):
        shutil.copy(run_dir.part(step, "p"), run_dir.part(step, "q"))
    seen.clear()
    before = pq.read_table(next(run_dir.part("models", "*").parent.glob("p-*")))
    monkeypatch.setattr(curate.scores.light.Light, "version", 2)
    models = Models(Job(CurateConfig(), tmp_path))
    models.run("q")
    assert seen == {}
    assert pq.read_table(run_dir.part("models", models.name_of("q"))).equals(before)
    other = pq.read_table(run_dir.part("videos", "q")).to_pylist()
    write_table(run_dir.part("videos", "q"), videos_of(*({**row, "sidecar_caption": "new"} for row in other)))
    run_dir.part("models", models.name_of("q")).unlink()
    Models(Job(CurateConfig(), tmp_path)).run("q")
    assert seen == {"cheap": 10, "costly": 10}  # what came with the source is another
