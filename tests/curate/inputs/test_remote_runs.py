"""Whole runs over remote inputs: what comes out is what the same files give on a local disk."""

import hashlib
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import curate.run
from curate.inputs.ingest import IngestConfig, expand_inputs
from curate.inputs.staging import _files
from curate.parts import SMALL_BYTES
from curate.run import Curated
from shards.schema import strings
from tests.curate.inputs.web_server import WebServer
from tests.curate.tiny_runs import Calls, curated, draw
from tests.shards.s3.conftest import Bucket

NAMES = ["a", "b", "c"]
ONE_FILE = {"workers": 1, "part_videos": 2, "staging_bytes": SMALL_BYTES + (64 << 10)}


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Curated:
    """Three videos, one with a text beside it."""
    folder = tmp_path_factory.mktemp("local")
    draw(folder / "in", NAMES)
    (folder / "in" / "a.txt").write_text("a square")
    return curated(folder / "in", folder / "run")


def videos_of(local: Curated) -> Path:
    return local.run_dir.root.parent / "in"


def run_of(uris: Sequence[str], output: Path, **config: object) -> Curated:
    return curated(list(uris), output, **{"ingest": {"private_hosts": True}, **config})


def catalog(result: Curated, name: str) -> list[dict[str, Any]]:
    """Rows without what is the uri's own."""
    rows = pq.read_table(result.run_dir.catalog(name)).to_pylist()
    own = [{key: value for key, value in row.items() if key not in ("uri", "provenance")} for row in rows]
    return sorted(own, key=lambda row: (row["video_id"] or "", row.get("clip_id", "")))


def clips_in_tars(result: Curated) -> dict[str, bytes]:
    found = {}
    for path in result.run_dir.dataset.rglob("*.tar"):
        with tarfile.open(path) as tar:
            for item in tar:
                member = tar.extractfile(item)
                assert member is not None
                if item.name.endswith((".mp4", ".txt")):
                    found[item.name] = member.read()
    return found


def same(one: Curated, other: Curated) -> bool:
    assert one.problems == other.problems == []
    assert clips_in_tars(one) == clips_in_tars(other) != {}
    assert catalog(one, "clips") == catalog(other, "clips")
    assert not (one.run_dir.root / "scratch").exists()
    return catalog(one, "videos") == catalog(other, "videos")


def test_a_folder_of_a_bucket_gives_what_the_folder_of_a_disk_gives(local: Curated, bucket: Bucket, tmp_path: Path):
    store = bucket.open()
    for path in videos_of(local).iterdir():
        store.create(f"raw/{path.name}", path)
    store.create("raw/notes.pdf", b"no video")
    folder = f"{bucket.uri}/raw"
    assert same(run_of([folder], tmp_path / "folder"), local)
    named = expand_inputs([f"{folder}/[ab].mp4", f"{folder}/none.mp4", f"{folder}/none/"], IngestConfig())
    names = ["a.mp4", "b.mp4", "none.mp4", "none/"]
    assert strings(named, "uri") == [f"{folder}/{name}" for name in names]
    assert named["sidecar_caption"].to_pylist() == ["a square", None, None, None]


def urls(web: WebServer, local: Curated) -> list[str]:
    return [web.put(f"/{name}.mp4", (videos_of(local) / f"{name}.mp4").read_bytes()) for name in NAMES]


def written_list(path: Path, uris: Sequence[str], sha256: str = "") -> str:
    """A list of videos; the first has a caption, and a hash if one is given."""
    rest = [f"{uri},," for uri in uris[1:]]
    path.write_text("\n".join(["uri,caption,sha256", f"{uris[0]},a square,{sha256}", *rest]) + "\n")
    return str(path)


def test_a_list_of_urls_gives_the_same_in_room_for_one_file_and_a_rerun_fetches_nothing(
    local: Curated, web: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    peak, staged = [0], tmp_path / "run" / "scratch" / "staged"

    def look(_: str) -> None:
        peak.append(sum(file.size_bytes for file in _files(staged)) if staged.is_dir() else 0)

    web.before = look
    uris = urls(web, local)
    sha256 = hashlib.sha256((videos_of(local) / "a.mp4").read_bytes()).hexdigest()
    name = written_list(tmp_path / "list.csv", uris, sha256.upper())
    result = run_of([name], tmp_path / "run", run=ONE_FILE)
    assert same(result, local)
    assert SMALL_BYTES < max(peak) <= ONE_FILE["staging_bytes"]
    calls, before = Calls(monkeypatch), len(web.requests)
    assert same(run_of([name], tmp_path / "run", run=ONE_FILE), local)
    assert [text for _, text, _ in web.requests[before:]] == ["bytes=0-0"] * 3  # is it still the same
    web.faults = ["503"] * 30
    assert same(run_of([name], tmp_path / "run", run=ONE_FILE), local)  # no network: what was done stays
    web.faults = []
    web.put("/b.mp4", web.files["/b.mp4"], '"2"')
    assert same(run_of([name], tmp_path / "run", run=ONE_FILE), local)
    assert (len(calls.scanned), calls.cut) == (1, [])


def test_a_source_that_is_not_what_the_list_says_has_a_code_and_the_run_goes_on(
    local: Curated, web: WebServer, tmp_path: Path
):
    wrong = run_of([written_list(tmp_path / "wrong.csv", urls(web, local), "0" * 64)], tmp_path / "wrong")
    assert [row["error"] for row in catalog(wrong, "videos") if row["status"] == "failed"] == ["hash_mismatch"]
    assert wrong.problems == []


def test_a_source_that_changes_between_scan_and_cut_fails_its_clips_with_a_code(
    local: Curated, web: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    uris, plan_packing = urls(web, local), curate.run.plan_packing

    def change(*arguments: object) -> object:
        for name in NAMES[:2]:
            web.put(f"/{name}.mp4", web.files["/c.mp4"], '"2"')
        return plan_packing(*arguments)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(curate.run, "plan_packing", change)
    result = run_of(uris, tmp_path / "run", run=ONE_FILE)
    assert sorted(str(row["drop_rule"]) for row in catalog(result, "clips")) == ["None"] + ["cut:source_changed"] * 2
    assert result.ledger.balances


def test_a_local_source_that_changes_between_scan_and_cut_fails_its_clips_with_a_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    first, _ = draw(tmp_path / "in", ["a", "b"])
    plan_packing = curate.run.plan_packing

    def change(*arguments: object) -> object:
        first.write_bytes(first.read_bytes() + b"more")
        return plan_packing(*arguments)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(curate.run, "plan_packing", change)
    clips = catalog(curated(tmp_path / "in", tmp_path / "run"), "clips")
    assert sorted(str(row["drop_rule"]) for row in clips) == ["None", "cut:source_changed"]


def test_a_killed_run_leaves_scratch_that_the_next_one_uses_and_empties(local: Curated, web: WebServer, tmp_path: Path):
    uris = urls(web, local)
    run, scratch = tmp_path / "run", tmp_path / "run" / "scratch"
    command = [sys.executable, "-m", "reelmill", "curate", "run", "curate/scan_only", *uris, "--output", str(run)]
    command += ["--set", "run.workers=1", "--set", "ingest.private_hosts=true", "--set", "keep={luma: luma_mean >= 0}"]
    command += ["--set", "scenes.min_clip_s=0.5"]
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(scratch.glob("staged/*.mp4")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert list(scratch.glob("staged/*.mp4"))
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not scratch.exists()
    bodies = [path for path, text, _ in web.requests if text != "bytes=0-0"]
    assert len(bodies) < 2 * len(uris)  # what the killed run had fetched was not fetched again
