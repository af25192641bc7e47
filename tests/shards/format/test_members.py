"""Shards of other members than video: latents and texts as arrays, from the packer to the reader."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from shards.errors import ConfigError, ContractError
from shards.format.commit import Commit, commit_shard
from shards.format.index import ROW, read_index
from shards.format.npy import npy_bytes
from shards.format.tar import SUFFIXES
from shards.reading.reader import open_dataset
from shards.schema import SAMPLE, members_of, sample_schema
from shards.versions.publish import publish
from shards.versions.splits import SplitConfig
from shards.versions.verify import verify

LATENTS = [np.full((4, 2, 3, 3), number, np.float16) for number in range(3)]
TEXTS = [np.full((5 + number, 8), -number, np.float32) for number in range(3)]
Commits = Callable[..., Commit]


@pytest.fixture
def commit_latents(tmp_path: Path, row_of: Callable[..., dict[str, Any]], mp4: bytes) -> Commits:
    def commit(shard_no: int, *members: Mapping[str, bytes]) -> Commit:
        rows = pa.Table.from_pylist([row_of(f"s{shard_no}-{n}", mp4) for n in range(len(members))], schema=ROW)
        return commit_shard(tmp_path / "dataset", "ab" * 32, shard_no, "toy", rows, members, tmp_path)

    return commit


def arrays() -> list[dict[str, bytes]]:
    return [{"latent.npy": npy_bytes(z), "text.npy": npy_bytes(t)} for z, t in zip(LATENTS, TEXTS, strict=True)]


def test_latents_and_texts_are_written_indexed_published_and_read(tmp_path: Path, commit_latents: Commits):
    publish(tmp_path / "dataset", [commit_latents(0, *arrays())], {}, SplitConfig(val=0))
    dataset = open_dataset(tmp_path / "dataset")
    assert dataset.members == ("json", "latent.npy", "text.npy", "txt")
    assert dataset.rows.column("latent_npy_shape").to_pylist() == [[4, 2, 3, 3]] * 3
    assert dataset.rows.column("text_npy_dtype").to_pylist() == ["<f4"] * 3
    for number, (latent, text) in enumerate(zip(LATENTS, TEXTS, strict=True)):
        assert dataset.read(number)["txt"] == f"caption of s0-{number}".encode()
        np.testing.assert_array_equal(dataset.read_array(number, "latent.npy"), latent)
        np.testing.assert_array_equal(dataset.read_array(number, "text.npy"), text)
    assert verify(tmp_path / "dataset", frames=True) == []
    assert "`<key>.json`, `<key>.latent.npy`, `<key>.text.npy`, `<key>.txt`" in (
        tmp_path / "dataset/README.md"
    ).read_text("utf-8")


def test_a_sample_may_have_clip_latent_and_text_together(tmp_path: Path, commit_latents: Commits, mp4: bytes):
    publish(tmp_path / "dataset", [commit_latents(0, {"mp4": mp4, **arrays()[0]})], {}, SplitConfig(val=0))
    dataset = open_dataset(tmp_path / "dataset")
    assert tuple(dataset.read(0)) == SUFFIXES
    assert dataset.read_member(0, "mp4") == mp4
    assert verify(tmp_path / "dataset", frames=True) == []


def test_columns_are_in_the_order_of_the_members_and_video_is_one_case():
    names = sample_schema(("json", "latent.npy", "txt")).names
    places = ["latent_npy_offset", "latent_npy_size", "latent_npy_xxh3", "latent_npy_dtype", "latent_npy_shape"]
    assert names[5:10] == places
    assert members_of(names) == ("json", "latent.npy", "txt")
    assert members_of(SAMPLE.names) == ("json", "mp4", "txt")


def test_a_member_that_is_not_there_is_named(tmp_path: Path, commit_latents: Commits):
    publish(tmp_path / "dataset", [commit_latents(0, *arrays())], {}, SplitConfig(val=0))
    with pytest.raises(ConfigError, match=r"member is 'mp4'; json, latent\.npy, text\.npy, txt are in"):
        open_dataset(tmp_path / "dataset").read_member(0, "mp4")


def test_an_array_with_a_pickle_is_never_committed(tmp_path: Path, commit_latents: Commits):
    with pytest.raises(ContractError, match="of little-endian numbers"):
        commit_latents(0, {"latent.npy": b"\x93NUMPY\x01\x00" + b"\x80\x04" * 40})
    assert not (tmp_path / "dataset").exists()


def test_shards_of_a_version_have_the_same_members(tmp_path: Path, commit_latents: Commits, mp4: bytes):
    commits = [commit_latents(0, *arrays()), commit_latents(1, {"mp4": mp4})]
    with pytest.raises(ContractError, match="all shards of a version have the same"):
        publish(tmp_path / "dataset", commits, {}, SplitConfig(val=0))


def test_verify_finds_a_flipped_bit_in_a_latent_and_in_its_header(tmp_path: Path, commit_latents: Commits):
    commit = commit_latents(0, *arrays())
    publish(tmp_path / "dataset", [commit], {}, SplitConfig(val=0))
    tar = tmp_path / "dataset" / commit.shard.path
    offset = read_index((tmp_path / "dataset" / commit.index.path).read_bytes())["latent_npy_offset"][1].as_py()
    for place, code in ((offset + 200, "member"), (offset + 12, "tar")):
        sound = tar.read_bytes()
        tar.unlink()
        tar.write_bytes(sound[:place] + bytes([sound[place] ^ 1]) + sound[place + 1 :])
        assert {problem.code for problem in verify(tmp_path / "dataset")} == {"sha256", code}
        with pytest.raises(ContractError, match="damaged"):
            open_dataset(tmp_path / "dataset").read_array(1, "latent.npy")
        tar.write_bytes(sound)
