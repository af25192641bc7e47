"""Every command on `s3://bucket/folder` as on a folder, over a network that fails now and then."""

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import pytest
import yaml

from reelmill.cli import run
from shards.format.commit import Commit, commit_shard
from shards.reading.reader import open_dataset
from shards.schema import strings
from shards.versions.manifest import versions
from shards.versions.publish import publish
from shards.versions.splits import SplitConfig
from shards.versions.verify import verify
from tests.shards.conftest import rows_table, sample_row
from tests.shards.fake_hub import FakeHub, running_hub
from tests.shards.s3.conftest import Bucket
from tests.shards.s3.proxy import Fault

ONE_OF_EACH = (Fault("503", "GET"), Fault("reset", "GET", "list-type"), Fault("lost reply", "PUT"))


@pytest.fixture
def clips(bucket: Bucket, scratch: Path, mp4: bytes) -> Bucket:
    """Nine clips of 3 s in three shards, published in a bucket; a fourth shard of another plan that is not."""
    commits = [commit(bucket, scratch, mp4, number, "ab" * 32) for number in range(3)]
    publish(bucket.uri, commits, {}, SplitConfig(val=0.3))
    commit(bucket, scratch, mp4, 3, "cd" * 32)
    return bucket


def commit(bucket: Bucket, scratch: Path, mp4: bytes, number: int, plan_id: str) -> Commit:
    rows = rows_table([sample_row(f"clip-{number}{place}", mp4) for place in range(3)])
    return commit_shard(bucket.uri, plan_id, number, "toy", rows, [{"mp4": mp4}] * 3, scratch)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_PROGRESS_BARS", True)
    with running_hub() as fake:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", fake.endpoint)
        yield fake


class Shell:
    """Runs commands on a bucket, each over a network with the same faults."""

    def __init__(self, bucket: Bucket, capsys: pytest.CaptureFixture[str]) -> None:
        self.bucket, self.capsys = bucket, capsys

    def __call__(self, *arguments: str | Path, code: int = 0) -> str:
        """What a command prints; it must end with this code, and have met a fault."""
        self.bucket.proxy.reset(*deepcopy(ONE_OF_EACH))
        done = run([str(argument) for argument in arguments])
        said = self.capsys.readouterr()
        assert done == code, said.err
        assert any(kind for _, _, kind in self.bucket.proxy.log.requests)
        self.bucket.proxy.reset()
        return " ".join((said.out if code == 0 else said.err).split())

    def shards(self, name: str, *arguments: str | Path, code: int = 0) -> str:
        """`reelmill shards NAME uri …`"""
        return self("shards", name, self.bucket.uri, *arguments, code=code)


@pytest.fixture
def shell(clips: Bucket, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(clips, capsys)


def test_a_version_in_a_bucket_is_shown_and_proved(shell: Shell):
    assert f"{shell.bucket.uri}: 1 versions" in shell.shards("ls")
    assert "9 clips" in shell.shards("show").replace("clips 9", "9 clips")
    assert "caption of clip-12" in shell.shards("show", "clip-12")
    assert "0 problems (bytes checked)" in shell.shards("verify")
    assert "0 problems (sizes checked)" in shell.shards("verify", "--quick")
    assert "0 problems (frames checked)" in shell.shards("verify", "--frames")
    told = shell.shards("plan", "--set", "plan.global_batch=2", "--set", "plan.split=all")
    assert "9 of 9 can be shown" in told
    mix = f"mix=[{{uri: '{shell.bucket.uri}'}}]"
    assert "9 of 9" in shell("shards", "plan", "--set", mix, "--set", "plan.global_batch=2", "--set", "plan.split=all")


def test_versions_in_a_bucket_are_made_compared_and_collected(shell: Shell, tmp_path: Path):
    uri = shell.bucket.uri
    assert "version 2 is published; before it, 1 what number which added 3" in shell.shards(
        "publish", "--plan", "cdcd", "--append"
    )
    assert "version 1 to 2: other samples" in shell.shards("diff")
    assert "removed 1" in shell.shards("withdraw", "--source", "video-of-clip-10", "--reason", "owner asked")
    assert "version 4 is published; before it, 3" in shell.shards("compact", "--scratch", tmp_path)
    assert "would go" in shell.shards("gc", "--grace", "0s", "--keep-versions", "1")
    assert "removed" in shell.shards("gc", "--grace", "0s", "--keep-versions", "1", "--delete")
    store = shell.bucket.open()
    assert versions(store) == [4]
    assert "clip-10" not in strings(open_dataset(uri).rows, "key")
    assert verify(uri) == []


def test_a_version_goes_from_bucket_to_bucket_to_folder_and_to_the_hub(shell: Shell, tmp_path: Path, hub: FakeHub):
    target = f"{shell.bucket.uri}-export"
    shell.shards("export", target)
    shell("shards", "export", target, tmp_path / "out")
    keys = {frozenset(strings(open_dataset(uri).rows, "key")) for uri in (shell.bucket.uri, target, tmp_path / "out")}
    assert len(keys) == 1
    assert verify(target) == verify(tmp_path / "out") == []
    assert "version 1 is what me/clips shows" in shell.shards("push", "--repo", "me/clips", "--create")
    assert "manifests/v000001.json" in hub.head("me/clips")[1]


def test_a_foreign_dataset_is_imported_into_a_bucket(shell: Shell, tmp_path: Path, mp4: bytes):
    (tmp_path / "a.mp4").write_bytes(mp4)
    (tmp_path / "list.csv").write_text("path,caption\na.mp4,a square\n")
    out = f"{shell.bucket.uri}-import"
    assert f"version 1 of {out}" in shell("shards", "import", tmp_path / "list.csv", out, "--kind", "csv")
    assert open_dataset(out).read(0)["mp4"] == mp4


def test_training_reads_from_a_bucket(shell: Shell, tmp_path: Path):
    pytest.importorskip("torch", reason="torch is not installed; pip install 'reelmill[train]'")
    from tests.train.moving_square import TINY

    data = TINY["data"] | {"uri": shell.bucket.uri, "num_workers": 0, "plan": {"global_batch": 2}}
    config = tmp_path / "tiny.yaml"
    config.write_text(yaml.safe_dump({**TINY, "data": data, "budget": {"steps": 1}}))
    assert shell.bucket.uri in shell("train", "plan", config)
    assert "step 1" in shell("train", "fit", config, "--output", tmp_path / "model")


@pytest.mark.parametrize("uri", ["foo://bucket/folder", "s3://"])
def test_a_uri_of_no_store_is_a_usage_error(uri: str, capsys: pytest.CaptureFixture[str]):
    assert run(["shards", "ls", uri]) == 2
    assert f"store is {uri}; s3://bucket/folder, gs://…, az://… or a folder is allowed" in capsys.readouterr().err
