"""Copied and encoded clips of every kind of source: ffmpeg, PyAV and torchcodec show exactly the planned frames."""

import itertools
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import pytest

from curate.clips.verify import frame_hash
from reelmill.bench.clip_judge import Truth, judge, read_truth
from reelmill.bench.clip_matrix import COPIED, SHOT_ENDS, Source, draw, full_matrix, quick_matrix
from tests.curate.clips.matrix_cuts import Cut, cutter
from tests.curate.videos import ffmpeg

SHOTS = list(itertools.pairwise((0, *SHOT_ENDS)))
OPEN_GROUPS = [source for source in quick_matrix() if source.is_open and source.codec in ("h264", "hevc")][:3]


@pytest.fixture(scope="session")
def truth_of(tmp_path_factory) -> Callable[[Source], Truth]:
    folder, known = tmp_path_factory.mktemp("matrix"), {}

    def of(source: Source) -> Truth:
        if source.name not in known:
            known[source.name] = read_truth(draw(source, folder), source.stream_index)
        return known[source.name]

    return of


@pytest.fixture
def cut(media_child, tmp_path) -> Cut:
    return cutter(media_child, tmp_path)


def assert_shows(path: Path, truth: Truth, first: int, last: int, result: Any) -> None:
    """Count, first, last, every picture and every time, by two decoders."""
    verdict = judge(path, truth, first, last)
    assert verdict.is_exact, f"{result.mode}: {verdict.describe()}, {verdict.worst_psnr_db:.1f} dB"
    assert verdict.is_identical or result.mode == "encode"
    times = [(pts - truth.pts_N[first]) * truth.time_base.numerator for pts in truth.pts_N[first:last]]
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        assert [frame.pts for frame in frames] == result.frame_pts == times
        assert container.streams.video[0].time_base == truth.time_base / truth.time_base.numerator
    if result.mode == "copy":
        assert [frame_hash(frame) for frame in frames] == source_hashes(truth)[first:last]


def source_hashes(truth: Truth) -> list[int]:
    """Of every frame, decoded by PyAV from the file's start."""
    return _source_hashes(truth.path, truth.stream_index, tuple(truth.pts_N))


@lru_cache
def _source_hashes(path: Path, stream_index: int, pts_N: tuple[int, ...]) -> list[int]:
    with av.open(str(path)) as container:
        stream = next(one for one in container.streams.video if one.index == stream_index)
        frames = {frame.pts: frame_hash(frame) for frame in container.decode(stream)}
    return [frames[pts] for pts in pts_N]


@pytest.mark.parametrize("source", quick_matrix(), ids=lambda source: source.name)
def test_a_copied_clip_shows_the_planned_frames_or_is_encoded_and_says_so(source, truth_of, cut):
    assert_copies(source, truth_of(source), cut)


@pytest.mark.parametrize("source", quick_matrix(), ids=lambda source: source.name)
def test_an_encoded_clip_shows_the_planned_frames(source, truth_of, cut):
    assert_encodes(source, truth_of(source), cut)


@pytest.mark.slow
@pytest.mark.parametrize("source", full_matrix(), ids=lambda source: source.name)
def test_every_combination_is_cut_exactly(source, truth_of, cut):
    assert_copies(source, truth_of(source), cut)
    assert_encodes(source, truth_of(source), cut)


def assert_copies(source: Source, truth: Truth, cut: Cut) -> None:
    for first, last in SHOTS:
        result = cut(truth, first, last, verify="frames")
        fallback = None if source.codec in COPIED else "codec"
        assert (result.mode, result.fallback) == ("encode" if fallback else "copy", fallback)
        assert_shows(result.path, truth, first, last, result)


def assert_encodes(source: Source, truth: Truth, cut: Cut) -> None:
    for first, last in SHOTS:
        result = cut(truth, first, last, mode="encode")
        assert (result.mode, result.fallback, result.encoded_frames) == ("encode", None, last - first)
        assert result.preroll_frames == 0
        assert_shows(result.path, truth, first, last, result)


@pytest.mark.parametrize("source", OPEN_GROUPS, ids=lambda source: source.name)
def test_every_frame_of_a_copied_clip_is_found_by_a_seek(source, truth_of, cut):
    """Also those that lead an open group: a seek to the group's own key frame would decode them without references."""
    truth = truth_of(source)
    first, last = SHOTS[-1]
    result = cut(truth, first, last)
    for at, pts in enumerate(result.frame_pts):
        with av.open(str(result.path)) as container:
            container.seek(pts, stream=container.streams.video[0])
            frame = next(one for one in container.decode(video=0) if one.pts == pts)
        assert frame_hash(frame) == source_hashes(truth)[first + at]


def test_torchcodec_shows_the_planned_frames_in_its_exact_mode(truth_of, cut):
    decoders = pytest.importorskip("torchcodec.decoders", reason="torchcodec is not installed")
    for source in quick_matrix():
        truth = truth_of(source)
        whole = list(decoders.VideoDecoder(remuxed(truth), seek_mode="exact"))
        for first, last in SHOTS:
            result = cut(truth, first, last)
            shown = decoders.VideoDecoder(str(result.path), seek_mode="exact")
            assert len(shown) == last - first, source.name
            if result.mode == "copy":
                numbers = reversed(range(last - first))  # each by a seek
                assert all((shown[at] == whole[first + at]).all() for at in numbers), source.name


def remuxed(truth: Truth) -> str:
    """The source's stream alone in a container whose frames torchcodec finds in order."""
    out = truth.path.with_name(f"{truth.path.stem}-alone.mkv")
    ffmpeg("-i", str(truth.path), "-map", f"0:{truth.stream_index}", "-c", "copy", str(out))
    return str(out)


def test_a_clip_far_from_its_key_frame_is_encoded_exactly_and_says_why(truth_of, cut):
    truth = truth_of(quick_matrix()[0])
    result = cut(truth, 74, 77)  # its key frame is 54, so 20 frames would be hidden for 3
    assert (result.mode, result.fallback, result.encoded_frames) == ("encode", "preroll", 3)
    assert_shows(result.path, truth, 74, 77, result)
