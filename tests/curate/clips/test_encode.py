"""Encoded clips: which frames, when, how they look, in which size."""

from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest

from curate.clips.encode import EncodeFailed, Target, encode_clip, encode_command, picked
from curate.clips.encoders import ENCODERS, EncodeConfig, check_encoder
from curate.clips.picture_size import Box, inner_box, upright_size
from curate.clips.verify import decode_clip
from shards.config import parse_config
from shards.errors import ConfigError
from tests.curate.cut_sources import Source, draw, read_source
from tests.curate.videos import ffmpeg, moving_square, write_video

FAST = [("libx264", "ultrafast"), ("libx265", "ultrafast"), ("libsvtav1", "12"), ("libvpx-vp9", "8")]


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("encode-sources")


def encoded(source: Source, first: int, last: int, out, config=None, size_hw=None, from_file_start=False, box=None):
    span = (source.pts[first], source.end_of(last))
    encode_clip(
        source.path,
        0,
        span,
        source.time_base,
        [Target(out, config or EncodeConfig(crf=10), size_hw, box)],
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


@pytest.mark.parametrize(("encoder", "preset"), FAST)
def test_an_encoded_clip_shows_the_planned_frames_at_their_times(encoder, preset, folder, tmp_path):
    source, out = draw(folder, "h264 at a variable rate"), tmp_path / "clip.mp4"
    encoded(source, 37, 62, out, EncodeConfig(encoder=encoder, preset=preset, crf=10))
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
    target = Target(tmp_path / "clip.mp4", EncodeConfig())
    with pytest.raises(EncodeFailed):
        encode_clip(source.path, 0, (99_000, 99_500), Fraction(1, 1000), [target])


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


@pytest.mark.parametrize(("encoder", "preset"), FAST)
def test_key_frames_come_exactly_every_so_many_frames_whatever_happens_in_the_picture(
    encoder, preset, folder, tmp_path
):
    source, out = draw(folder, "vp9"), tmp_path / "clip.mp4"
    encoded(source, 3, 73, out, EncodeConfig(encoder=encoder, preset=preset, gop_frames=16))
    with av.open(str(out)) as container:
        packets = [(packet.pts, packet.is_keyframe) for packet in container.demux(video=0) if packet.size]
    shown = [is_key for _, is_key in sorted(packets)]
    assert [number for number, is_key in enumerate(shown) if is_key] == [0, 16, 32, 48, 64]
    decoded = [pts or 0 for pts, _ in packets]
    keys = [place for place, (_, is_key) in enumerate(packets) if is_key]
    assert all(min(decoded[place:]) == decoded[place] for place in keys)  # closed: nothing after it is shown before it


def test_fewer_frames_a_second_are_a_choice_of_the_sources_frames_at_their_own_times(folder, tmp_path):
    source, out = draw(folder, "h264 at a variable rate"), tmp_path / "clip.mp4"
    encoded(source, 10, 60, out, EncodeConfig(crf=10, fps=10))
    pts, shown_THW = grey(out)
    times_s = [float((one - source.pts[10]) * source.time_base) for one in source.pts[10:60]]
    numbers = [next(at for at, time_s in enumerate(times_s) if int(time_s * 10 + 1e-9) == k) for k in range(20)]
    assert pts == [(source.pts[10 + at] - source.pts[10]) * source.time_base.numerator for at in numbers]
    assert psnr_db(shown_THW, grey(source.path)[1][[10 + at for at in numbers]]) > 35
    assert decode_clip(out).preroll_frames == 0


def test_picking_takes_the_first_frame_of_each_period_and_invents_none():
    config = EncodeConfig(fps=10)
    assert picked([0, 1, 2, 3, 4, 5, 6, 7], Fraction(1, 25), config) == [0, 3, 5]  # periods of 2.5 ticks
    assert picked([0, 9, 10], Fraction(1, 25), config) == [0, 9, 10]  # nothing is repeated in the gap
    assert picked([0, 1, 2], Fraction(1, 25), EncodeConfig()) == [0, 1, 2]


def test_one_decode_feeds_several_files(folder, tmp_path):
    source = draw(folder, "vp9")
    span = source.pts[10], source.pts[40]
    small = Target(tmp_path / "small.mp4", EncodeConfig(crf=10, fps=5), (46, 82))
    large = Target(tmp_path / "large.mp4", EncodeConfig(crf=10, encoder="libx265", preset="ultrafast"))
    assert encode_command(source.path, 0, span, source.time_base, [small, large]).get_args().count("-i") == 1
    encode_clip(source.path, 0, span, source.time_base, [small, large])
    assert decode_clip(small.out).height == 46
    assert len(decode_clip(small.out).frame_pts) == 6
    assert psnr_db(grey(large.out)[1], grey(source.path)[1][10:40]) > 35


def test_a_box_is_cut_out_of_the_upright_picture(folder, tmp_path):
    source = draw(folder, "vp9")
    encoded(source, 0, 5, tmp_path / "clip.mp4", box=Box(top=10, left=20, height=40, width=60))
    assert psnr_db(grey(tmp_path / "clip.mp4")[1], grey(source.path)[1][:5, 10:50, 20:80]) > 35


BORDERED = {"border_top": 0.125, "border_bottom": 0.125, "border_left": None, "border_right": 0.0}


@pytest.mark.parametrize(
    ("columns", "borders", "box"),
    [
        ({}, BORDERED, (136, 0, 808, 1920)),  # an eighth of 1080 is 135; lines go in pairs, the border wholly
        ({"rotation_deg": 90}, BORDERED, (240, 0, 1440, 1080)),
        ({}, {}, None),
        ({}, dict.fromkeys(BORDERED, 0.5), None),  # black all over
    ],
)
def test_the_inner_box_leaves_out_black_borders(columns, borders, box):
    video = {"width": 1920, "height": 1080, "sar_num": 1, "sar_den": 1, "rotation_deg": 0} | columns
    found = inner_box(video, borders)
    assert found == box
    if found:
        assert upright_size(video, 404, found) == ((538, 404) if columns else (404, 960))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"encoder": "libsvtav1", "preset": "veryfast"}, "'veryfast'; 0, 1, 2"),
        ({"crf": 60}, "crf is 60; at most 51 is allowed for libx264"),
        ({"encoder": "h264_nvenc", "pix_fmt": "yuv420p10le"}, "yuv420p, yuv444p are allowed for h264_nvenc"),
        ({"encoder": "libsvtav1", "pix_fmt": "yuv444p"}, "allowed for libsvtav1"),
        ({"encoder": "x264"}, "libx264"),
    ],
)
def test_what_does_not_fit_together_is_refused_with_the_reason(options, words):
    with pytest.raises(ConfigError, match=words):
        parse_config(EncodeConfig, options)


def test_nvenc_gets_a_command_line_of_its_own(tmp_path):
    config = EncodeConfig(encoder="hevc_nvenc", pix_fmt="yuv420p10le", gop_frames=24, crf=23)
    command = encode_command(tmp_path, 0, (0, 50), Fraction(1, 25), [Target(tmp_path / "out.mp4", config)])
    words = " ".join(command.get_args())
    for part in ("-c:v hevc_nvenc", "-preset p4", "-cq 23", "-g 24", "-pix_fmt p010le", "-no-scenecut 1"):
        assert part in words
    assert "-crf" not in words


def test_an_encoder_that_does_not_run_here_is_named_before_the_work(monkeypatch):
    check_encoder(EncodeConfig(), None)
    monkeypatch.setitem(ENCODERS, "libx264", replace(ENCODERS["libx264"], pix_fmts={"yuv420p": "no_format"}))
    with pytest.raises(ConfigError, match="encoder is libx264; ffmpeg cannot run it here"):
        check_encoder(EncodeConfig(), None)


@pytest.mark.gpu
@pytest.mark.parametrize("encoder", ["h264_nvenc", "hevc_nvenc"])
def test_nvenc_shows_the_planned_frames(encoder, folder, tmp_path):
    source, out = draw(folder, "vp9"), tmp_path / "clip.mp4"
    encoded(source, 10, 40, out, EncodeConfig(encoder=encoder, crf=16))
    assert psnr_db(grey(out)[1], grey(source.path)[1][10:40]) > 35
