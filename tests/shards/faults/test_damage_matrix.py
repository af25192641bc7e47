"""Every kind of damage through `verify` and through the loader: named by both, or harmless and the batches the same."""

import io
import logging
import pickle
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from shards.errors import ReelmillError
from shards.format.commit import commit_shard
from shards.format.npy import npy_bytes
from shards.format.tar import BLOCK
from shards.plans.plan import PlanConfig
from shards.reading.batch import loader
from shards.reading.config import ReadingConfig
from shards.reading.reader import open_dataset
from shards.versions.publish import publish
from shards.versions.splits import SplitConfig
from shards.versions.verify import verify
from tests.shards.faults.drivers import PLAN_ID, bare_rows

TAR = "shards/toy/cdcdcdcd-000000.tar"
PLAN = PlanConfig(global_batch=4, shuffle="none")
LATENT = "latent.npy"
CANARY = Path(tempfile.gettempdir()) / "reelmill-canary"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four latents in two shards: one batch an epoch, so that whatever is lost, one is intact."""
    folder = tmp_path_factory.mktemp("sound")
    commits = []
    for number, keys in enumerate((("a", "b", "c"), ("d",))):
        latents = [{LATENT: npy_bytes(np.full((2, 3), ord(key), np.float16))} for key in keys]
        commits.append(commit_shard(folder / "dataset", PLAN_ID, number, "toy", bare_rows(keys), latents, folder))
    publish(folder / "dataset", commits, {}, SplitConfig(val=0))
    return folder / "dataset"


@pytest.fixture
def root(tmp_path: Path, sound: Path) -> Path:
    shutil.copytree(sound, tmp_path / "dataset")
    return tmp_path / "dataset"


def epoch(root: Path, on_damage: Any = "raise") -> list[tuple[list[str], torch.Tensor, int]]:
    """Keys, latents and number of substitutes of every batch of an epoch, by the loader."""
    dataset = open_dataset(root)
    plan = dataset.plan(PLAN)
    batches = loader(dataset, plan, None, members=[LATENT], reading=ReadingConfig(on_damage=on_damage))
    found = list(islice(batches, plan.steps_per_epoch))
    return [(batch.keys, batch.tensors[LATENT], len(batch.damages)) for batch in found]


def at(root: Path, name: str, sample_id: int) -> int:
    return open_dataset(root).rows.column(name)[sample_id].as_py()


def change(path: Path, how: Callable[[bytearray], Any]) -> None:
    data = bytearray(path.read_bytes())
    how(data)
    path.unlink()
    path.write_bytes(data)


def flip(root: Path, place: int) -> None:
    change(root / TAR, lambda data: data.__setitem__(place, data[place] ^ 4))


def cut(root: Path, size: int) -> None:
    change(root / TAR, lambda data: data.__delitem__(slice(size, None)))


def rewrite(root: Path, how: Callable[[str, bytes], tuple[str, bytes] | None]) -> None:
    """The tar again, each member changed or left out."""
    with tarfile.open(root / TAR) as old:
        files = [(info.name, old.extractfile(info).read()) for info in old]  # type: ignore[union-attr]
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.USTAR_FORMAT) as new:
        for name, data in filter(None, (how(*file) for file in files)):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o644
            new.addfile(info, io.BytesIO(data))
    change(root / TAR, lambda data: data.__setitem__(slice(None), sink.getvalue()))


class Canary:
    """Unpickling it makes a file."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (CANARY,)


PICKLE = pickle.dumps(Canary())


@dataclass(frozen=True)
class Case:
    """A damage, what verify calls it, and the samples that it takes from the loader."""

    name: str
    damage: Callable[[Path], Any]
    codes: frozenset[str]
    lost: str = ""


def case(name: str, damage: Callable[[Path], Any], codes: str, lost: str = "") -> Any:
    return pytest.param(Case(name, damage, frozenset(codes.split()), lost), id=name)


IN_TARS = [
    case("header: name", lambda r: flip(r, at(r, "latent_npy_offset", 1) - BLOCK), "sha256 tar", "b"),
    case("header: mode", lambda r: flip(r, at(r, "latent_npy_offset", 1) - BLOCK + 102), "sha256 tar", "b"),
    case("header: size", lambda r: flip(r, at(r, "latent_npy_offset", 1) - BLOCK + 134), "sha256 tar", "b"),
    case("header: checksum", lambda r: flip(r, at(r, "latent_npy_offset", 1) - BLOCK + 150), "sha256 tar", "b"),
    case("header: unused", lambda r: flip(r, at(r, "latent_npy_offset", 1) - BLOCK + 510), "sha256 tar", "b"),
    case("payload", lambda r: flip(r, at(r, "latent_npy_offset", 1) + 130), "sha256 member", "b"),
    case("cut at a sample", lambda r: cut(r, at(r, "json_offset", 1) - BLOCK), "size tar", "bc"),
    case("cut between members", lambda r: cut(r, at(r, "latent_npy_offset", 1) - BLOCK), "size tar", "bc"),
    case("cut in a payload", lambda r: cut(r, at(r, "latent_npy_offset", 1) + 9), "size tar", "bc"),
    case("cut in a header", lambda r: cut(r, at(r, "latent_npy_offset", 1) - 200), "size tar", "bc"),
    case("cut before the end mark", lambda r: cut(r, at(r, "txt_offset", 2) + BLOCK), "size tar", ""),
    case("shard gone", lambda r: (r / TAR).unlink(), "missing", "abc"),
    case("member gone", lambda r: rewrite(r, lambda n, d: None if n == "b.latent.npy" else (n, d)), "sha256 tar", "bc"),
    case(
        "pickle in a member",
        lambda r: rewrite(r, lambda n, d: (n, PICKLE.ljust(len(d), b".") if n == "b.latent.npy" else d)),
        "sha256 tar",
        "b",
    ),
    case(
        "member named .pkl",
        lambda r: rewrite(r, lambda n, d: ("b.pkl", PICKLE) if n == "b.latent.npy" else (n, d)),
        "sha256 tar",
        "b",
    ),
    *(
        case(
            f"member named {bad}",
            lambda r, bad=bad: rewrite(r, lambda n, d: (bad, d) if n == "b.latent.npy" else (n, d)),
            "sha256 tar",
            "b",
        )
        for bad in ("../b.latent.npy", "/b.latent.npy")
    ),
]


@pytest.mark.parametrize("damage", IN_TARS)
def test_damage_in_a_tar_is_found_by_verify_and_by_the_loader_and_no_epoch_is_short(root: Path, damage: Case):
    before = epoch(root)
    damage.damage(root)
    assert {problem.code for problem in verify(root)} == damage.codes
    with pytest.raises(ReelmillError, match=r"000000\.tar .*(damaged|missing)"):
        epoch(root)
    after = epoch(root, "substitute")
    assert [len(keys) for keys, _, _ in after] == [len(keys) for keys, _, _ in before]
    for (keys, latents, _), (found, others, substitutes) in zip(before, after, strict=True):
        assert substitutes == sum(key in damage.lost for key in keys) == sum(key not in found for key in keys)
        for place, key in enumerate(keys):
            if key not in damage.lost:
                assert found[place] == key
                assert torch.equal(latents[place], others[place])
    assert not CANARY.exists()


@pytest.mark.parametrize("place", ["head", "values"])
def test_a_tampered_plan_index_is_found_by_verify_and_nobody_opens_it(root: Path, place: str):
    (plan_index,) = (root / "manifests").glob("*.plan.arrow")
    change(plan_index, lambda data: data.__setitem__(64 if place == "head" else -300, 0xAB))
    assert {problem.code for problem in verify(root)} == {"sha256"}
    with pytest.raises(ReelmillError, match="is not what the manifest names"):
        epoch(root)


def test_a_tampered_index_of_a_shard_is_found_by_verify_and_the_loader_never_reads_it(root: Path):
    before = epoch(root)
    change(root / "index/toy/cdcdcdcd-000000.parquet", lambda data: data.__setitem__(100, data[100] ^ 1))
    assert "sha256" in {problem.code for problem in verify(root)}
    for (_, latents, _), (_, same, _) in zip(before, epoch(root), strict=True):
        assert torch.equal(latents, same)


@pytest.mark.parametrize(
    ("old", "new"), [(b'"num_samples": 3', b'"num_samples": 4'), (b'"version": 1', b'"version": 2')]
)
def test_a_tampered_manifest_is_found_by_verify_and_nobody_opens_it(root: Path, old: bytes, new: bytes):
    path = root / "manifests/v000001.json"
    change(path, lambda data: data.__setitem__(slice(None), bytes(data).replace(old, new, 1)))
    assert {problem.code for problem in verify(root)} & {"manifest", "latest"}
    with pytest.raises(ReelmillError, match=r"v000001\.json"):
        epoch(root)


def test_a_foreign_file_is_found_by_verify_and_by_the_loader_and_not_read(root: Path, caplog: pytest.LogCaptureFixture):
    before = epoch(root)
    (root / "shards/toy/evil.pkl").write_bytes(PICKLE)
    assert {(problem.code, problem.path) for problem in verify(root)} == {("foreign", "shards/toy/evil.pkl")}
    with caplog.at_level(logging.WARNING):
        after = epoch(root)
    assert "shards/toy/evil.pkl" in caplog.text
    assert [keys for keys, _, _ in after] == [keys for keys, _, _ in before]
    assert not CANARY.exists()
