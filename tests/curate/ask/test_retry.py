"""Failed items of small real runs, tried again: scans and cuts are counted, and bytes compared."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

import curate.pack
import curate.worker
from curate.ask.retry import input_rows, retry, retry_codes
from curate.ask.what_if_view import ask_what_if
from curate.inputs.ingest import IngestConfig, expand_inputs
from curate.models.caption import Caption
from curate.scores.motion import Motion
from reelmill.cli import run as command
from reelmill.progress import LineProgress
from shards.errors import ClipTooShort, ConfigError, MediaError
from shards.reading.reader import open_dataset
from shards.schema import strings
from shards.versions.verify import verify
from tests.curate.tables import clip, clips_of, video, videos_of
from tests.curate.tiny_runs import Calls, curated, draw


def failing(of: Any, bad: set[str], name_of: Any, code: str) -> Any:
    def call(*arguments: Any) -> Any:
        if name_of(*arguments) in bad:
            raise MediaError("drawn to fail", code)
        return of(*arguments)

    return call


def stem_of(_child: Any, row: Any, *_: Any) -> str:
    return Path(row["uri"]).stem


def published(root: Path) -> set[str]:
    return set(strings(open_dataset(root / "dataset").rows, "key"))


def tars(root: Path) -> dict[str, str]:
    files = sorted((root / "dataset" / "shards").rglob("*.tar"))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_only_the_failed_videos_are_scanned_and_the_shards_that_stand_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Two videos per part: b fails beside a, and c and d fail together, so that their part goes as a whole."""
    draw(tmp_path / "in", ["a", "b", "c", "d"])
    calls, root = Calls(monkeypatch), tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(
            curate.worker, "scan_video", failing(curate.worker.scan_video, {"b", "c", "d"}, stem_of, "deadline")
        )
        curated(tmp_path / "in", root)
    before = tars(root)
    assert (len(published(root)), calls.scanned) == (1, ["a"])
    calls.clear()
    result = retry(root, ["deadline"], LineProgress())
    assert (sorted(calls.scanned), len(calls.cut)) == (["b", "c", "d"], 3)
    assert (result.videos, result.clips, result.still) == ({"deadline": 3}, {}, {})
    assert result.curated.problems == []
    assert len(published(root)) == 4
    assert before.items() <= tars(root).items()
    assert verify(root / "dataset", frames=True) == []
    calls.clear()
    curated(tmp_path / "in", root)
    assert (calls.scanned, calls.cut) == ([], [])


def test_a_cut_is_tried_again_each_time_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    draw(tmp_path / "in", ["a", "b", "c"])
    calls, root = Calls(monkeypatch), tmp_path / "run"
    bad = failing(curate.pack.cut_clip, {"b"}, lambda _child, path, *_: path.stem, "deadline")
    with monkeypatch.context() as patch:
        patch.setattr(curate.pack, "cut_clip", bad)
        curated(tmp_path / "in", root)
        before = tars(root)
        for _ in range(2):
            result = retry(root, ["cut:deadline"], LineProgress())
            assert (result.clips, result.still) == ({"cut:deadline": 1}, {"cut:deadline": 1})
            assert "failed again: 1 of cut:deadline" in result.describe()
    calls.clear()
    assert retry(root, ["cut:deadline"], LineProgress()).still == {}
    assert (calls.scanned, len(calls.cut)) == ([], 1)
    assert len(published(root)) == 3
    assert before.items() <= tars(root).items()
    assert ask_what_if(root, []).to_cut.rows == 0


def test_an_unknown_code_is_refused_with_those_there_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = tmp_path / "in"
    draw(folder, ["a"])
    (folder / "noise.mp4").write_bytes(b"noise" * 100)
    (folder / "empty.mp4").touch()
    curated(folder, tmp_path / "run")
    with pytest.raises(ConfigError, match=r"'captoin' is no stage of the run; nearest is caption; name that"):
        retry(tmp_path / "run", ["captoin:no_captioner"], LineProgress())
    with pytest.raises(ConfigError, match=r"the run's codes are caption:no_captioner \(1\), empty_file \(1\), not_a"):
        retry(tmp_path / "run", ["dead"], LineProgress())
    assert command(["curate", "retry", str(tmp_path / "run"), "--code", "not_a_video"]) == 0
    assert "tried again: 1 videos of not_a_video; failed again: 1 of not_a_video" in capsys.readouterr().out


def test_codes_are_those_of_failed_videos_and_of_clips():
    videos = videos_of(video("a"), video("b", status="failed", error="deadline"))
    errors = ["cut:deadline;caption:no_captioner", "caption:no_captioner", None]
    clips = clips_of(*(clip("a", 10 * at, 10 * at + 10, error=error) for at, error in enumerate(errors)))
    assert retry_codes(videos, clips) == {"caption:no_captioner": 2, "cut:deadline": 1, "deadline": 1}


def test_a_score_is_computed_again_for_its_clips_alone_and_one_of_the_scan_with_its_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The captioner sees b's clip again since its code is named; the motion of c's is scored by a scan of c."""
    draw(tmp_path / "in", ["a", "b", "c"])
    (tmp_path / "in" / "a.txt").write_text("words", encoding="utf-8")
    calls, root, seen = Calls(monkeypatch), tmp_path / "run", list[str]()
    score, batch = Motion.score, Caption.score_batch

    def still(stage: Motion, clip: Any, span: Any) -> Any:
        if calls.scanned[-1] == "c":
            raise ClipTooShort("drawn to fail")
        return score(stage, clip, span)

    def counted(stage: Caption, clips: Any) -> Any:
        seen.extend(item.clip.clip_id for item in clips)
        return batch(stage, clips)

    with monkeypatch.context() as patch:
        patch.setattr(Motion, "score", still)
        curated(tmp_path / "in", root, keep={"motion": "flow_mag >= 0"})
    before = tars(root)
    monkeypatch.setattr(Caption, "score_batch", counted)
    calls.clear()
    result = retry(root, ["caption:no_captioner"], LineProgress())
    assert (calls.scanned, calls.cut, len(seen)) == ([], [], 1)
    assert result.still == {"caption:no_captioner": 1}
    assert tars(root) == before
    result = retry(root, ["motion:clip_too_short"], LineProgress())
    assert (calls.scanned, len(calls.cut)) == (["c"], 1)
    assert (result.clips, result.still) == ({"motion:clip_too_short": 1}, {})
    assert before.items() <= tars(root).items()
    assert len(published(root)) == 3


def test_inputs_come_back_as_ingest_made_them(tmp_path: Path):
    listed = tmp_path / "list.csv"
    listed.write_text("uri,caption,licence,rights\na.mp4,words,CC0,me\nhttp://x/y.mp4,,,\n", encoding="utf-8")
    rows = expand_inputs([str(listed)], IngestConfig())
    assert input_rows(rows).equals(rows)
