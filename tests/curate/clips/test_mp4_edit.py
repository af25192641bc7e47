import struct

import pytest

from curate.clips.mp4_edit import (
    Edit,
    box,
    boxes,
    media_timescale,
    movie_timescale,
    read_edits,
    read_moov,
    with_edit,
    write_edit,
)
from shards.errors import ContractError
from tests.curate.videos import ffmpeg, moving_square, write_video


def full(version: int, content: bytes) -> bytes:
    return struct.pack(">I", version << 24) + content


def mvhd(timescale: int, duration: int, version: int = 0) -> bytes:
    dates, width = (b"\0" * 16, "Q") if version else (b"\0" * 8, "I")
    return box(b"mvhd", full(version, dates + struct.pack(f">I{width}", timescale, duration) + b"rest"))


def mdhd(timescale: int) -> bytes:
    return box(b"mdia", box(b"mdhd", full(0, b"\0" * 8 + struct.pack(">II", timescale, 7))))


def soun(timescale: int) -> bytes:
    handler = box(b"hdlr", full(0, b"\0" * 4 + b"soun" + b"\0" * 12))
    return box(b"mdia", box(b"mdhd", full(0, b"\0" * 8 + struct.pack(">II", timescale, 7))) + handler)


def tkhd(duration: int) -> bytes:
    return box(b"tkhd", full(0, b"\0" * 8 + struct.pack(">III", 1, 0, duration) + b"rest"))


def movie(*tracks: bytes, header: bytes | None = None) -> bytes:
    return box(b"moov", (header or mvhd(25, 1000)) + b"".join(tracks))


def test_an_edit_replaces_what_was_there_and_sets_both_durations():
    old = box(b"edts", box(b"elst", full(0, struct.pack(">IIiI", 1, 9, 9, 1 << 16))))
    moov = with_edit(movie(box(b"trak", tkhd(9) + old + mdhd(25))), Edit(media_time=6, duration=51))

    assert read_edits(moov) == [(6, 51)]
    expected = box(b"edts", box(b"elst", full(1, struct.pack(">IQqI", 1, 51, 6, 1 << 16))))
    assert moov == movie(box(b"trak", tkhd(51) + expected + mdhd(25)), header=mvhd(25, 51))


def test_sound_is_presented_as_long_as_the_pictures_from_a_sample_of_its_own():
    def sound(time: int, duration: int) -> bytes:
        edits = box(b"edts", box(b"elst", full(1, struct.pack(">IQqI", 1, duration, time, 1 << 16))))
        return box(b"trak", tkhd(duration) + edits + soun(48_000))

    pictures = box(b"trak", tkhd(9) + mdhd(25))
    moov = movie(pictures, sound(1024, 8))
    edit = Edit(media_time=6, duration=51)
    assert with_edit(moov, edit).endswith(sound(1024, 51))
    assert with_edit(moov, edit, sound_media_time=7).endswith(sound(7, 51))
    assert read_edits(with_edit(moov, edit)) == [(6, 51)]


def test_a_header_of_64_bits_is_set_too():
    moov = with_edit(movie(box(b"trak", tkhd(9) + mdhd(90_000)), header=mvhd(90_000, 1, version=1)), Edit(0, 1234))
    assert dict(boxes(dict(boxes(moov))[b"moov"]))[b"mvhd"] == mvhd(90_000, 1234, version=1)[8:]
    assert movie_timescale(moov) == media_timescale(moov) == 90_000


@pytest.mark.parametrize(
    ("moov", "words"),
    [
        (movie(), "has 0 tracks"),
        (movie(*2 * [box(b"trak", tkhd(9) + mdhd(25))]), "has 2 tracks"),
        (movie(box(b"trak", tkhd(9) + mdhd(50))), r"time scales are \(25, 50\)"),
        (movie(box(b"trak", tkhd(9) + mdhd(25)))[:-1], "are left"),
    ],
)
def test_a_movie_built_otherwise_is_refused(moov, words):
    with pytest.raises(ContractError, match=words):
        with_edit(moov, Edit(0, 1))


def test_a_duration_that_does_not_fit_is_refused():
    with pytest.raises(ContractError, match="below 4294967296 is allowed"):
        with_edit(movie(box(b"trak", tkhd(9) + mdhd(25))), Edit(0, 1 << 32))


def test_ffmpeg_shows_the_frames_that_the_edit_names(tmp_path):
    scale = {"movie_timescale": "12800", "video_track_timescale": "12800"}
    path = write_video(tmp_path / "clip.mp4", moving_square(20), options={"bf": "2"}, muxer=scale)
    ((first, _),) = read_edits(read_moov(path))
    shown = framemd5(path)

    write_edit(path, Edit(first + 5 * 512, 7 * 512))

    assert framemd5(path) == shown[5:12]


def test_a_file_that_does_not_end_in_its_index_is_refused(tmp_path):
    path = write_video(tmp_path / "clip.mp4", moving_square(5), muxer={"movflags": "faststart"})
    with pytest.raises(ContractError, match="last box of the file is b'mdat'"):
        write_edit(path, Edit(0, 1))


def framemd5(path):
    lines = ffmpeg("-i", str(path), "-fps_mode", "passthrough", "-f", "framemd5", "-").splitlines()
    return [line.split(",")[-1] for line in lines if not line.startswith("#")]
