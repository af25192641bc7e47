"""The page of a training: what a run folder holds stands on it, nothing of it is active, and it costs little."""

import json
import re
import shutil
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from reelmill import training_page
from reelmill.cli import app
from reelmill.training_page import TrainingPages, write_training_page
from shards.config import apply_overrides, parse_config
from shards.errors import ConfigError
from tests.train.moving_square import TINY, MovingSquares
from train.config import TrainConfig
from train.metrics import read_reports
from train.trainer import fit

PROMPT = "a red square moves left"


def plain(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page") / "run"
    seen = ("previews.every_steps=2", f"previews.prompts=[{PROMPT}]")
    fit(parse_config(TrainConfig, apply_overrides(deepcopy(TINY), seen)), folder, source=MovingSquares())
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def test_all_that_a_run_records_stands_on_one_page(run: Path):
    html = write_training_page(run).read_text(encoding="utf-8")
    text = plain(html)
    assert "Step 6," in text
    for wanted in ("by level", "by frame", "by text", "learning rate", "gradient norm", "clips", "latent frames", "MB"):
        assert wanted in text
    assert "checkpoints/step-00000006" in text
    assert "modulation_width: 16" in html  # of the settings
    assert "No step was skipped" in text
    assert re.findall(r"<h3>step (\d+)</h3>", html) == ["6", "4", "2"]
    assert html.count("data:image/webp;base64,") == 3
    assert text.count(PROMPT) >= 3
    assert "MFU" not in text  # it was not asked for
    assert not re.search(r"<script|<link|src=\"(?!data:)|https?://", html)


def test_text_of_strangers_is_inert_and_skipped_steps_name_their_clips(run: Path):
    evil = "<script>x</script>\u202e"
    axes = json.loads((run / "axes.json").read_text())
    axes["text"] = [evil, "left out"]
    (run / "axes.json").write_text(json.dumps(axes))
    line = {"step": 3, "epoch": 0, "loss": None, "keys": [evil, "clip7"]}
    (run / "skipped.jsonl").write_text(2 * (json.dumps(line) + "\n"))  # repeated after a resume
    html = write_training_page(run).read_text(encoding="utf-8")
    assert "<script" not in html
    assert "\u202e" not in html
    assert html.count("&lt;script&gt;x&lt;/script&gt;\\u202e") >= 2
    assert "clip7" in html
    assert "1 steps skipped" in plain(html)


def test_a_half_written_last_line_and_a_loss_that_is_none_are_no_harm(run: Path):
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    lines[2] = json.dumps(json.loads(lines[2]) | {"loss": None, "skipped": True}) + "\n"
    (run / "metrics.jsonl").write_text("".join(lines[:-1]) + lines[-1][:40])
    assert "Step 5," in plain(write_training_page(run).read_text(encoding="utf-8"))


def test_long_runs_are_read_evenly_spaced_with_their_last_step(run: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(training_page, "MAX_REPORTS", 3)
    assert [report["step"] for report in training_page._reports(run / "metrics.jsonl")] == [2, 4, 6]


def test_animations_beyond_the_room_are_counted(run: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(training_page, "MAX_PREVIEW_BYTES", 0)
    assert "No sample was drawn" in write_training_page(run).read_text(encoding="utf-8")
    assert training_page._previews(run, [PROMPT])[1] == 3


def test_a_folder_without_a_training_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="train first"):
        write_training_page(tmp_path)


def test_pages_are_written_at_checkpoints_and_rest_a_hundred_times_as_long_as_they_took(
    run: Path, monkeypatch: pytest.MonkeyPatch
):
    first, second, *_, last = read_reports(run)
    pages = TrainingPages(run, 2)
    pages.after(first)
    assert not (run / "report.html").exists()
    clock_s = iter([0.0, 0.0, 2.0, 201.0, 203.0, 203.0, 205.0])  # looked at, begun, ended
    monkeypatch.setattr(training_page, "time", SimpleNamespace(monotonic=lambda: next(clock_s)))
    for report, written in ((second, True), (last, False), (last, True)):
        (run / "report.html").unlink(missing_ok=True)
        pages.after(report)
        assert (run / "report.html").exists() == written


def test_a_page_that_cannot_be_written_ends_no_training(run: Path, caplog: pytest.LogCaptureFixture):
    (run / "axes.json").write_text("{")
    TrainingPages(run, 2).after(read_reports(run)[1])
    assert "page of step 2 not written" in caplog.text


def test_the_command_fit_writes_the_page_while_it_trains_and_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    written: list[int] = []

    def noted(run: Path) -> Path:
        written.append(len(read_reports(run)))
        return write_training_page(run)

    monkeypatch.setattr("train.trainer.ShardSource", lambda data, metrics: MovingSquares())
    monkeypatch.setattr(training_page, "write_training_page", noted)
    monkeypatch.setattr(training_page, "TIME_SHARE", 1e9)
    config = parse_config(TrainConfig, apply_overrides(deepcopy(TINY), ("budget.steps=3",)))
    (tmp_path / "tiny.yaml").write_text(config.to_yaml())
    done = CliRunner().invoke(app, ["train", "fit", str(tmp_path / "tiny.yaml"), "--output", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    assert written == [2, 3]
    assert f"page       {tmp_path / 'run' / 'report.html'}" in done.output
