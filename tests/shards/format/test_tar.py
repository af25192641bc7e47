import io
import tarfile
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shards.errors import ContractError
from shards.format.tar import BLOCK, KEY, SUFFIXES, Member, parse_tar, tar_end, tar_header

SAMPLE = [("a.json", b"{}"), ("a.mp4", b"video" * 200), ("a.txt", b"")]
SECOND = [("b-1.json", b"[]"), ("b-1.mp4", b"x"), ("b-1.txt", b"text")]


def make_tar(files: Sequence[tuple[str, bytes]], tar_format: int = tarfile.USTAR_FORMAT, **info: object) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tar_format) as tar:
        for name, data in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            for field, value in info.items():
                setattr(entry, field, value)
            tar.addfile(entry, io.BytesIO(data))
    return sink.getvalue()


GOOD = make_tar([*SAMPLE, *SECOND])


def parse(tar: bytes) -> list[Member]:
    return parse_tar(memoryview(tar))


@given(st.from_regex(KEY, fullmatch=True), st.sampled_from(SUFFIXES), st.integers(0, 2**33 - 1))
def test_headers_are_those_that_tarfile_makes(key: str, suffix: str, size: int):
    info = tarfile.TarInfo(f"{key}.{suffix}")
    info.size, info.mode = size, 0o644
    assert tar_header(info.name, size) == info.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict")


@given(st.integers(0, 100))
def test_the_end_is_that_which_tarfile_makes(blocks: int):
    data = bytes(blocks * BLOCK)
    whole = make_tar([("a.json", data)])
    assert tar_end(BLOCK + len(data)) == whole[BLOCK + len(data) :]


def test_a_header_of_another_writer_is_read_too():
    """tar(1) and others fill owners, times and device numbers."""
    tar = make_tar([*SAMPLE, *SECOND], uid=1000, gid=1000, uname="me", gname="us", mtime=1_700_000_000, mode=0o600)
    assert parse(tar) == parse(GOOD)


def test_offsets_and_sizes_are_those_that_tarfile_finds():
    with tarfile.open(fileobj=io.BytesIO(GOOD)) as tar:
        expected = [(info.name, info.offset_data, info.size) for info in tar]
    assert [(f"{m.key}.{m.suffix}", m.offset, m.size) for m in parse(GOOD)] == expected


@pytest.mark.parametrize("name", ["../a.json", "/a.json", "A.json", "a.pickle", "a.b.json", ".json", "a/b.json", "a"])
def test_names_that_are_not_key_and_suffix_are_refused(name: str):
    with pytest.raises(ContractError, match="the name is"):
        parse(make_tar([(name, b"")]))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_only_regular_files_are_accepted(kind: bytes):
    with pytest.raises(ContractError, match="no regular file"):
        parse(make_tar([("a.json", b"")], type=kind))


def test_gnu_and_pax_headers_are_refused():
    long_name = f"{'a' * 120}.json"
    for tar_format in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        with pytest.raises(ContractError, match="tar is broken at byte 0"):
            parse(make_tar([(long_name, b"")], tar_format))


@pytest.mark.parametrize(
    ("files", "what"),
    [
        (SAMPLE[:2], "has members"),
        ([SAMPLE[1], SAMPLE[0], SAMPLE[2]], "has members"),
        ([SAMPLE[0], *SECOND, *SAMPLE[1:]], "has members"),
        ([*SAMPLE, *SECOND, *SAMPLE], "key a occurs twice"),
        ([*SAMPLE, SECOND[0], ("b-1.latent.npy", b""), SECOND[2]], "has members"),
        ([SAMPLE[0], SAMPLE[2]], "and a payload"),
        ([("a.latent.npy", b""), SAMPLE[2]], "and a payload"),
    ],
)
def test_samples_are_whole_in_order_and_there_once(files: Sequence[tuple[str, bytes]], what: str):
    with pytest.raises(ContractError, match=what):
        parse(make_tar(files))


@pytest.mark.parametrize("size", [0, 100, BLOCK, 2 * BLOCK, 3 * BLOCK + 7, 9 * BLOCK, len(GOOD) - 1])
def test_a_truncated_tar_is_never_a_shorter_tar(size: int):
    with pytest.raises(ContractError, match="tar is broken at byte"):
        parse(GOOD[:size])


def test_nothing_may_follow_the_end():
    with pytest.raises(ContractError, match="the end is not"):
        parse(GOOD[:-1] + b"x")
    with pytest.raises(ContractError, match="the end is not"):
        parse(GOOD + b"\0" * 100)


def test_a_zeroed_hole_does_not_end_the_tar():
    with pytest.raises(ContractError, match="the end is not"):
        parse(GOOD[: 2 * BLOCK] + b"\0" * BLOCK + GOOD[3 * BLOCK :])


@given(st.integers(0, BLOCK * 8 - 1), st.sampled_from([0, 2, 5, 6]))
def test_a_flipped_bit_in_a_header_is_an_error(bit: int, block: int):
    """Blocks 0, 2, 5 and 6 of the tar are headers."""
    data = bytearray(GOOD)
    data[block * BLOCK + bit // 8] ^= 1 << bit % 8
    with pytest.raises(ContractError):
        parse(bytes(data))


@settings(max_examples=400)
@given(st.data())
def test_a_mutated_tar_is_parsed_or_refused_but_never_read_out_of_bounds(data: st.DataObject):
    tar = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 4))):
        tar[data.draw(st.integers(0, len(tar) - 1))] = data.draw(st.integers(0, 255))
    tar = tar[: data.draw(st.integers(0, len(tar)))] if data.draw(st.booleans()) else tar
    try:
        members = parse(bytes(tar))
    except ContractError:
        return
    assert all(0 < member.offset <= member.offset + member.size <= len(tar) for member in members)
