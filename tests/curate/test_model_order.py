"""The order of models: numbers one can check by hand, and parts that are scored in it."""

import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import curate.pipeline
from curate.config import CurateConfig
from curate.decision.decide import decide
from curate.model_order import Measured, best_order, expected_s, has_choice, known_order, order_path, orders
from curate.modelling import Models, models_name
from curate.pipeline import Pipeline
from curate.plan_view import describe
from curate.run import _scored
from curate.rundir import Part, RunDir, write_table
from curate.stage import FrameStage
from curate.worker import FRAME, Job
from shards.config import parse_config
from shards.errors import ClipError
from shards.schema import VIDEO, column
from tests.curate.tables import clip, clips_of, video, videos_of

KEEP = {"words": "words IS NOT NULL", "grade": "grade >= 9", "motion": "flow_mag >= 0"}
seen: Counter[str] = Counter()


class Slow(FrameStage):
    name = "slow"
    adds = pa.schema([column("words", pa.string(), "", "A word.")])

    def score_batch(self, batch) -> list[Mapping[str, object] | ClipError]:
        seen[self.name] += len(batch)
        time.sleep(0.005 * len(batch))
        return [{"words": "word"} for _ in batch]


class After(FrameStage):
    name = "after"
    reads = ("words",)
    adds = pa.schema([column("length", pa.int32(), "", "Letters.")])

    def score_batch(self, batch) -> list[Mapping[str, object] | ClipError]:
        seen[self.name] += len(batch)
        return [{"length": 4} for _ in batch]


class Strict(FrameStage):
    """A clip's place in its video: one of ten passes."""

    name = "strict"
    adds = pa.schema([column("grade", pa.float32(), "", "Place.")])

    def score_batch(self, batch) -> list[Mapping[str, object] | ClipError]:
        seen[self.name] += len(batch)
        return [{"grade": item.clip.start_pts / 10} for item in batch]


@pytest.fixture(autouse=True)
def _three_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curate.pipeline, "frame_stages", lambda config: [Slow(), After(), Strict()])
    seen.clear()


def pipeline_of(keep: Mapping[str, str], **config: Any) -> Pipeline:
    return Pipeline.of(parse_config(CurateConfig, {"keep": keep, **config}))


def test_a_model_comes_after_those_it_reads():
    assert orders([Slow(), After(), Strict()]) == [
        ("slow", "after", "strict"),
        ("slow", "strict", "after"),
        ("strict", "slow", "after"),
    ]


def test_the_expected_cost_is_that_of_the_clips_that_come_so_far():
    """Strict costs 1 s and lets a tenth through to slow (10 s) and after (2 s), or sees all of them last."""
    measured = Measured({"slow": 10, "after": 2, "strict": 1}, {"grade": 0.1, "words": 1.0, "motion": 0.5}, {})
    plan = pipeline_of(KEEP)
    assert expected_s(plan, measured) == pytest.approx(0.5 * (10 + 2 + 1))
    assert expected_s(plan.ordered(("strict", "slow", "after")), measured) == pytest.approx(0.5 * (1 + 0.1 * 12))
    assert best_order(plan, measured) == ("strict", "slow", "after")


def test_a_gain_within_the_clocks_noise_changes_nothing():
    measured = Measured({"slow": 10, "after": 2, "strict": 1}, {"grade": 0.9}, {})
    assert best_order(pipeline_of(KEEP), measured) == ("slow", "after", "strict")


def test_without_rules_between_models_there_is_no_choice():
    assert has_choice(pipeline_of(KEEP))
    assert not has_choice(pipeline_of({"motion": "flow_mag >= 0"}))
    assert not has_choice(pipeline_of(KEEP, score_all=True))
    assert "models run in this order (slow, after, strict) over the first 16 videos" in describe(pipeline_of(KEEP))


def write_parts(root: Path, number: int) -> list[Part]:
    """Parts of one video of ten clips each, as a scan leaves them."""
    plan, run_dir, parts = Pipeline.of(CurateConfig()), RunDir(root), []
    schema = [field for stage in plan.span_stages for field in stage.adds]
    for name in (f"v{index:02d}" for index in range(number)):
        rows = [clip(name, 10 * place, 10 * place + 10, flow_mag=1.0) for place in range(10)]
        frames = [{"video_id": name, "pts": 10 * place, "jpeg": b"1"} for place in range(10)]
        write_table(run_dir.part("clips", name), clips_of(*rows, extra=tuple(schema)))
        write_table(run_dir.part("videos", name), videos_of(video(name, 100)))
        write_table(run_dir.part("frames", name), pa.Table.from_pylist(frames, FRAME))
        parts.append(Part(name, pa.Table.from_pylist([{"uri": name}], VIDEO), (name,)))
    return parts


class Scorer:
    """An executor that only runs models, in any order of parts; stops after so many."""

    def __init__(self, stop_after: int = 1000) -> None:
        self.left = stop_after

    def parts(self, job: Job, parts: Sequence[Part]) -> Iterator[Mapping[str, Any]]:
        models = Models(job)
        for part in reversed(parts):
            if not self.left:
                raise KeyboardInterrupt
            self.left -= 1
            yield models.run(part.name)


def scored(root: Path, plan: Pipeline, parts: Sequence[Part], executor: Scorer) -> list[pa.Table]:
    run_dir = RunDir(root)
    list(_scored(plan, run_dir, executor, Job(plan.config, root), parts))  # pyright: ignore[reportArgumentType]
    return [pq.read_table(run_dir.part("models", models_name(part.name, plan))) for part in parts]


def kept(plan: Pipeline, tables: Sequence[pa.Table], parts: Sequence[Part]) -> list[str]:
    rows = plan.gather.gather(pa.concat_tables(tables))
    decided = decide(rows, videos_of(*(video(part.name, 100) for part in parts)), plan.clip_rules)
    assert set(decided["status"].to_pylist()) == {"kept", "rejected"}
    return [row["clip_id"] for row in decided.to_pylist() if row["status"] == "kept"]


def test_after_the_first_videos_the_strict_model_spares_the_slow_one_and_the_same_is_kept(tmp_path: Path):
    """16 videos of ten clips in the configured order, then 8 in the better one: of 80 clips, 8 reach the slow model."""
    plan, parts = pipeline_of(KEEP), write_parts(tmp_path / "run", 24)
    shutil.copytree(tmp_path / "run", tmp_path / "all")
    shutil.copytree(tmp_path / "run", tmp_path / "killed")
    tables = scored(tmp_path / "run", plan, parts, Scorer())
    assert known_order(plan, RunDir(tmp_path / "run")) == ("strict", "slow", "after")
    assert seen == {"slow": 168, "after": 168, "strict": 240}
    everything = pipeline_of(KEEP, score_all=True)
    assert kept(plan, tables, parts) == kept(everything, scored(tmp_path / "all", everything, parts, Scorer()), parts)
    again = scored(tmp_path / "run", plan, parts, Scorer(stop_after=24))
    assert all(one.equals(other) for one, other in zip(tables, again, strict=True))
    with pytest.raises(KeyboardInterrupt):
        scored(tmp_path / "killed", plan, parts, Scorer(stop_after=20))
    settled = order_path(RunDir(tmp_path / "killed"), plan).read_bytes()
    resumed = scored(tmp_path / "killed", plan, parts, Scorer())
    assert order_path(RunDir(tmp_path / "killed"), plan).read_bytes() == settled
    assert all(one.equals(other) for one, other in zip(tables, resumed, strict=True))


def test_few_videos_are_scored_as_configured(tmp_path: Path):
    plan, parts = pipeline_of(KEEP), write_parts(tmp_path, 16)
    scored(tmp_path, plan, parts, Scorer())
    assert known_order(plan, RunDir(tmp_path)) == ()
    assert seen["slow"] == 160
