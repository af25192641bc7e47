"""Encoded clips: which frames, when, how they look, in which size."""

from fractions import Fraction

import av
import numpy as np
import pytest

from curate.clips.encode import EncodeConfig, EncodeFailed, encode_clip, upright_size
from curate.clips.verify import decode_clip
from shards.config import parse_config
from shards.errors import ConfigError
from tests.curate.cut_sources import Source, draw, read_source
from tests.curate.videos import ffmpeg, moving_square, write_video

ENCODERS = [("libx264", "veryfast"), ("libx265", "ultrafast"), ("libsvtav1", "10")]


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("encode-sources")


def encoded(source: Source, first: int, last: int, out, config=None, size_hw=None, from_file_start=False):
    span = (source.pts[first], source.end_of(last))
    encode_clip(
        source.path,
        0,
        span,
        source.time_base,
        out,
        config or EncodeConfig(crf=10),
        size_hw,
        from_file_start=from_file_start,
    )


def grey(path) -> tuple[list[int | None], np.ndarray]:
    """Pts, and uint8 luma (T, H, W)."""
    with av.open(str(path)) as container:
        frames = [(frame.pts, frame.to_ndarray(format="gray")) for frame in container.decode(video=0)]
    return [pts for pts, _ in frames], np.stack([grey_HW for _, grey_HW in frames])


def psnr_db(one_THW: np.ndarray, other_THW: np.ndarray) -> float:
    """Of the worst frame."""
    error_T = ((one_THW.astype(np.float64) - other_THW) ** 2).mean(axis=(1, 2))
    return float(10 * np.log10(255**2 / error_T.max()))


@pytest.mark.parametrize(("codec", "preset"), ENCODERS)
def test_an_encoded_clip_shows_the_planned_frames_at_their_times(codec, preset, folder, tmp_path):
    source, out = draw(folder, "h264 at a variable rate"), tmp_path / "clip.mp4"
    encoded(source, 37, 62, out, EncodeConfig(codec=codec, preset=preset, crf=10))
    pts, shown_THW = grey(out)
    assert pts == [(one - source.pts[37]) * source.time_base.numerator for one in source.pts[37:62]]
    assert psnr_db(shown_THW, grey(source.path)[1][37:62]) > 35  # neighbours differ by far more
    assert decode_clip(out).preroll_frames == 0


@pytest.mark.parametrize(
    "name", ["h264 in a transport stream that begins late", "h264 in flash video without an index", "vp9"]
)
def test_spans_of_any_container_are_found_by_time(name, folder, tmp_path):
    source, out = draw(folder, name), tmp_path / "clip.mp4"
    source_THW = grey(source.path)[1]
    num_frames = len(source.pts)
    for first, last in [(0, 9), (50, 60), (num_frames - 8, num_frames)]:
        encoded(source, first, last, out, from_file_start=True)
        pts, shown_THW = grey(out)
        assert pts == [one - source.pts[first] for one in source.pts[first:last]]
        assert psnr_db(shown_THW, source_THW[first:last]) > 35


def test_a_seek_gives_the_frames_that_decoding_from_the_start_gives(folder, tmp_path):
    source = draw(folder, "vp9")
    encoded(source, 70, 80, tmp_path / "sought.mp4")
    encoded(source, 70, 80, tmp_path / "whole.mp4", from_file_start=True)
    assert (tmp_path / "sought.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()


def test_a_seek_into_frames_that_lack_references_is_an_error(folder, tmp_path):
    source = draw(folder, "h264, open groups")
    with pytest.raises(EncodeFailed, match="after a seek; silence is needed"):
        encoded(source, 50, 60, tmp_path / "clip.mp4")


def test_a_span_without_frames_is_an_error(folder, tmp_path):
    source = draw(folder, "vp9")
    with pytest.raises(EncodeFailed):
        encode_clip(source.path, 0, (99_000, 99_500), Fraction(1, 1000), tmp_path / "clip.mp4", EncodeConfig(), None)


def test_a_turned_picture_is_encoded_upright(folder, tmp_path):
    turned = tmp_path / "turned.mp4"
    ffmpeg(
        "-display_rotation",
        "90",
        "-i",
        str(draw(folder, "h264 at a time base of 1/30000").path),
        "-c",
        "copy",
        str(turned),
    )
    encoded(read_source(turned), 0, 5, tmp_path / "clip.mp4")
    presented = decode_clip(tmp_path / "clip.mp4")
    assert (presented.width, presented.height, presented.rotation_deg) == (90, 160, 0)


def test_resizing_gives_even_sides_and_square_pixels(folder, tmp_path):
    encoded(draw(folder, "vp9"), 0, 5, tmp_path / "clip.mp4", size_hw=(46, 82))
    presented = decode_clip(tmp_path / "clip.mp4")
    assert (presented.width, presented.height, presented.sar_num, presented.sar_den) == (82, 46, 1, 1)


def test_an_odd_column_is_cut_off_not_squeezed(tmp_path):
    source = write_video(tmp_path / "odd.mkv", moving_square(5)[:, :95, :159], codec="ffv1", pix_fmt="yuv444p")
    encoded(read_source(source), 0, 5, tmp_path / "clip.mp4")
    shown_THW = grey(tmp_path / "clip.mp4")[1]
    assert shown_THW.shape == (5, 94, 158)
    assert psnr_db(shown_THW, grey(source)[1][:, :94, :158]) > 35


@pytest.mark.parametrize(
    ("columns", "short_side_px", "size_hw"),
    [
        ({}, None, (1080, 1920)),
        ({}, 360, (360, 640)),
        ({"rotation_deg": 90}, 360, (640, 360)),
        ({"width": 720, "height": 576, "sar_num": 16, "sar_den": 11}, None, (576, 1046)),  # 1047.3 px wide on a screen
        ({"width": 161, "height": 91}, None, (90, 160)),
        ({"width": 160, "height": 90}, 360, (90, 160)),  # never enlarged
    ],
)
def test_the_size_of_clips_is_known_before_they_are_cut(columns, short_side_px, size_hw):
    video = {"width": 1920, "height": 1080, "sar_num": 1, "sar_den": 1, "rotation_deg": 0} | columns
    assert upright_size(video, short_side_px) == size_hw


def test_a_preset_of_another_encoder_is_refused():
    with pytest.raises(ConfigError, match="'veryfast'; 0, 1, 2"):
        parse_config(EncodeConfig, {"codec": "libsvtav1"})
