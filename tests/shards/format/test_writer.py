import hashlib
import subprocess
from pathlib import Path

import numpy as np
import pytest
import xxhash

from shards.errors import ContractError
from shards.format.npy import npy_bytes
from shards.format.writer import SampleBytes, write_shard

SAMPLES = [
    SampleBytes("a", {"json": b"{}", "mp4": b"video" * 300, "txt": b"a cat"}),
    SampleBytes("b", {"json": b'{"x":1}', "mp4": b"", "txt": b""}),
]


def test_the_same_samples_give_the_same_bytes(tmp_path: Path):
    first, second = (write_shard(tmp_path / name, SAMPLES) for name in ("1.tar", "2.tar"))
    assert first == second
    assert (tmp_path / "1.tar").read_bytes() == (tmp_path / "2.tar").read_bytes()


def test_the_record_says_where_each_member_lies(tmp_path: Path):
    record = write_shard(tmp_path / "s.tar", SAMPLES)
    tar = (tmp_path / "s.tar").read_bytes()
    assert (record.size_bytes, record.sha256) == (len(tar), hashlib.sha256(tar).hexdigest())
    for sample, (key, members) in zip(SAMPLES, record.samples, strict=True):
        assert key == sample.key
        for suffix, place in members.items():
            assert tar[place.offset : place.offset + place.size] == sample.members[suffix]
            assert place.xxh3 == int(xxhash.xxh3_64_hexdigest(sample.members[suffix]), 16)  # type: ignore[arg-type]


def test_tar_lists_fixed_names_owners_and_times(tmp_path: Path):
    write_shard(tmp_path / "s.tar", SAMPLES)
    command = ["tar", "--utc", "-tvf", str(tmp_path / "s.tar")]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")
    assert [line.split() for line in listing[:3]] == [
        ["-rw-r--r--", "0/0", "2", "1970-01-01", "00:00", "a.json"],
        ["-rw-r--r--", "0/0", "1500", "1970-01-01", "00:00", "a.mp4"],
        ["-rw-r--r--", "0/0", "5", "1970-01-01", "00:00", "a.txt"],
    ]


def test_members_may_be_files(tmp_path: Path):
    clip = tmp_path / "clip"
    clip.write_bytes(b"video" * 300)
    write_shard(tmp_path / "bytes.tar", SAMPLES[:1])
    write_shard(tmp_path / "file.tar", [SampleBytes("a", {**SAMPLES[0].members, "mp4": clip})])
    assert (tmp_path / "bytes.tar").read_bytes() == (tmp_path / "file.tar").read_bytes()


@pytest.mark.parametrize("key", ["", "../x", "/x", "a.b", "A", "-a", "a" * 65, "a\n", "ä"])
def test_a_key_that_could_mean_something_else_is_refused(tmp_path: Path, key: str):
    with pytest.raises(ContractError, match="key is"):
        write_shard(tmp_path / "s.tar", [SampleBytes(key, SAMPLES[0].members)])


def test_a_sample_without_one_of_its_members_is_refused(tmp_path: Path):
    with pytest.raises(ContractError, match=r"members of a sample are \['json', 'mp4'\]"):
        write_shard(tmp_path / "s.tar", [SampleBytes("a", {"json": b"{}", "mp4": b""})])
    more = SampleBytes("b", {**SAMPLES[0].members, "latent.npy": npy_bytes(np.zeros(2))})
    with pytest.raises(ContractError, match="give every sample the same"):
        write_shard(tmp_path / "s.tar", [SAMPLES[0], more])


def test_a_shard_of_nothing_is_refused(tmp_path: Path):
    with pytest.raises(ContractError, match="shard has 0 samples"):
        write_shard(tmp_path / "s.tar", [])


def test_more_small_members_than_one_system_call_takes_are_all_written(tmp_path: Path):
    """3,600 members; the kernel takes 1,024 parts at once, and a member is three."""
    samples = [SampleBytes(f"k{n:04d}", {"json": b"%d" % n, "mp4": b"v" * (n % 7), "txt": b""}) for n in range(1200)]
    record = write_shard(tmp_path / "s.tar", samples)
    tar = (tmp_path / "s.tar").read_bytes()
    assert [key for key, _ in record.samples] == [sample.key for sample in samples]
    assert record.sha256 == hashlib.sha256(tar).hexdigest()
    listed = subprocess.run(["tar", "-tf", tmp_path / "s.tar"], capture_output=True, text=True, check=True).stdout
    assert listed.split() == [f"k{n:04d}.{suffix}" for n in range(1200) for suffix in ("json", "mp4", "txt")]
