import io
import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from shards.errors import ContractError
from shards.plans.plan import sample_generator
from shards.plans.view import BORDER_COLUMNS, ViewConfig
from shards.reading import decode
from shards.reading.decode import decode_clip, decode_frames, presented_pts
from shards.reading.picture import Pictures, inner_shares, yuv_to_rgb

Draw = Callable[..., bytes]
RowOf = Callable[..., dict[str, Any]]


def grey_of(number: int) -> float:
    """RGB of frame `number` of a drawn clip: luma 16 + 8 * number in limited range."""
    return 255 / 219 * 8 * number


def test_frames_come_at_the_views_times(mp4: bytes, row_of: RowOf):
    view = ViewConfig(num_frames=4, fps=2, height=12, width=16, start="begin")
    video_THWC = decode_clip(mp4, row_of("a", mp4), view)
    assert video_THWC.shape == (4, 12, 16, 3)
    assert video_THWC.dtype == np.uint8
    for frame_HWC, number in zip(video_THWC, [0, 4, 8, 12], strict=True):
        assert frame_HWC.mean() == pytest.approx(grey_of(number), abs=2)


@pytest.mark.parametrize(("codec", "gop"), [("libx264", 4), ("libx265", 6)])
def test_a_start_deep_in_a_later_group_of_pictures_is_exact(draw: Draw, row_of: RowOf, codec: str, gop: int):
    """Open groups of HEVC: pictures that lead a key frame cannot be decoded after a seek to it."""
    mp4 = draw(num_frames=27, gop=gop, codec=codec, height=64, width=64)
    view = ViewConfig(num_frames=3, fps=None, height=12, width=16)
    row, seen = row_of("a", mp4), set()
    for sample_id in range(250):
        video_THWC = decode_clip(mp4, row, view, sample_generator(0, 0, sample_id))
        first = round(video_THWC[0].mean() / grey_of(1))
        seen.add(first)
        means = video_THWC.reshape(3, -1).mean(axis=1)
        np.testing.assert_allclose(means, [grey_of(number) for number in range(first, first + 3)], atol=2)
    assert seen == set(range(25))


def test_the_same_sample_gives_the_same_frames(mp4: bytes, row_of: RowOf):
    view, row = ViewConfig(num_frames=4, fps=4, height=12, width=16), row_of("a", mp4)
    first, again, other = (decode_clip(mp4, row, view, sample_generator(0, 0, number)) for number in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("name", ["cockatoo_444.mp4", "exo_bbb.mp4", "exo_webcam_av1.mp4", "carphone_pristine.mp4"])
def test_real_files_decode_from_the_middle_as_from_the_start(row_of: RowOf, name: str):
    """cockatoo_444 is of an x264 whose fault FFmpeg corrects only if it has seen the first packet."""
    folder = os.environ.get("REELMILL_REAL_VIDEOS")
    if not folder:
        pytest.skip("REELMILL_REAL_VIDEOS names no folder")
    mp4 = (Path(folder) / name).read_bytes()
    row = row_of("a", mp4, source_start_pts=0, source_end_pts=10**6, source_time_base_num=1, source_time_base_den=1)
    row["frame_pts"] = row["frame_pts"][:120]
    whole = decode_clip(mp4, row, ViewConfig(num_frames=len(row["frame_pts"]), fps=None, height=48, width=64))
    middle = ViewConfig(num_frames=9, fps=None, height=48, width=64, start="center")
    first = (len(whole) - 9) // 2
    np.testing.assert_array_equal(decode_clip(mp4, row, middle), whole[first : first + 9])


def one_picture(luma_HW: np.ndarray) -> bytes:
    """A clip of one grey picture."""
    planes_HW = np.vstack([luma_HW, np.full_like(luma_HW[::2], 128)])
    sink = io.BytesIO()
    with av.open(sink, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=8, options={"crf": "1"})
        stream.height, stream.width, stream.pix_fmt = *luma_HW.shape, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(planes_HW, format="yuv420p")))
        container.mux(stream.encode(None))
    return sink.getvalue()


def halves(height: int, width: int, bright: str) -> bytes:
    """One grey picture of which the top or the left half is bright."""
    grey_HW = np.full((height, width), 40, np.uint8)
    if bright == "top":
        grey_HW[: height // 2] = 200
    else:
        grey_HW[:, : width // 2] = 200
    return one_picture(grey_HW)


@pytest.mark.parametrize(("degrees", "bright"), [(0, "top"), (90, "left"), (180, "bottom"), (270, "right")])
def test_pictures_are_turned_upright_counter_clockwise(row_of: RowOf, degrees: int, bright: str):
    mp4 = halves(48, 48, "top")
    view = ViewConfig(num_frames=1, fps=None, height=16, width=16)
    picture_HW = decode_clip(mp4, row_of("a", mp4, rotation_deg=degrees), view)[0].mean(axis=2)
    parts = {
        "top": picture_HW[:8].mean(),
        "bottom": picture_HW[8:].mean(),
        "left": picture_HW[:, :8].mean(),
        "right": picture_HW[:, 8:].mean(),
    }
    assert max(parts, key=lambda part: parts[part]) == bright


def test_a_turned_picture_is_cropped_in_its_own_aspect(row_of: RowOf):
    mp4 = halves(48, 96, "left")  # turned by 90 degrees: 96 high, 48 wide, bright half at the bottom
    view = ViewConfig(num_frames=1, fps=None, height=32, width=16)
    picture_HW = decode_clip(mp4, row_of("a", mp4, rotation_deg=90), view)[0].mean(axis=2)
    assert picture_HW.shape == (32, 16)
    assert picture_HW[18:].min() > 200
    assert picture_HW[:14].max() < 60


@pytest.mark.parametrize("space", [Colorspace.ITU709, Colorspace.ITU601])
@pytest.mark.parametrize("full_range", [False, True])
def test_colours_are_those_of_swscale(space: Colorspace, full_range: bool):
    colours_1NC = np.random.default_rng(0).integers(40, 200, (1, 256, 3)).astype(np.uint8)
    frame = av.VideoFrame.from_ndarray(
        np.ascontiguousarray(colours_1NC.transpose(2, 0, 1).repeat(16, 1)), format="yuv444p"
    )
    matrix = yuv_to_rgb(space.value, 2 if full_range else 1, 480)
    ours_NC = np.clip(np.rint(colours_1NC[0] @ matrix[:, :3].T + matrix[:, 3]), 0, 255)
    reformatter = VideoReformatter()
    theirs = reformatter.reformat(
        frame,
        format="rgb24",
        src_colorspace=space,
        src_color_range=ColorRange.JPEG if full_range else ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
        interpolation=Interpolation.POINT,
    )
    assert np.abs(theirs.to_ndarray()[8].astype(float) - ours_NC).max() <= 3


def test_ten_bits_look_like_eight(row_of: RowOf):
    pictures = []
    for pix_fmt in ("yuv420p", "yuv420p10le"):
        sink = io.BytesIO()
        with av.open(sink, "w", format="mp4") as container:
            stream = container.add_stream("libx264", rate=8, options={"crf": "5"})
            stream.height, stream.width, stream.pix_fmt = 48, 48, pix_fmt
            ramp = np.tile(np.linspace(20, 220, 48).astype(np.uint8), (48, 1))
            frame = av.VideoFrame.from_ndarray(np.stack([ramp] * 3, axis=2), format="rgb24")
            container.mux(stream.encode(frame.reformat(format=pix_fmt)))
            container.mux(stream.encode(None))
        mp4 = sink.getvalue()
        pictures.append(decode_clip(mp4, row_of("a", mp4), ViewConfig(num_frames=1, fps=None, height=24, width=24))[0])
    assert np.abs(pictures[0].astype(int) - pictures[1]).max() <= 6


def test_all_presented_pts_are_listed(mp4: bytes, row_of: RowOf):
    assert presented_pts(mp4) == row_of("a", mp4)["frame_pts"]


def test_a_frame_that_is_not_there_is_an_error(draw: Draw, row_of: RowOf):
    short, row = draw(num_frames=8), row_of("a", draw(num_frames=24))
    with pytest.raises(ContractError, match="clip a lacks frames at pts"):
        decode_clip(short, row, ViewConfig(num_frames=20, fps=None, height=12, width=16, start="begin"))


@pytest.mark.parametrize(
    "bad", [b"", b"not a video", b"#EXTM3U\n/etc/passwd\n", b"ffconcat version 1.0\nfile /etc/hosts\n"]
)
def test_bytes_that_are_no_mp4_are_an_error(bad: bytes, mp4: bytes, row_of: RowOf):
    with pytest.raises(ContractError, match="clip a does not decode"):
        decode_clip(bad, row_of("a", mp4), ViewConfig(num_frames=1))


def test_metadata_that_is_not_utf8_is_no_damage(mp4: bytes, row_of: RowOf):
    assert b"Lavf" in mp4  # the name of the program that wrote it
    latin1 = mp4.replace(b"Lavf", b"Lav\xe9")
    row, view = row_of("a", mp4), ViewConfig(num_frames=1, fps=None, height=12, width=16)
    np.testing.assert_array_equal(decode_clip(latin1, row, view), decode_clip(mp4, row, view))
    assert presented_pts(latin1) == row["frame_pts"]


def packets(num_frames: int, pts: list[int], options: dict[str, str], codec: str = "libx264") -> bytes:
    """A clip of moving noise whose frame i is shown from pts[i], in 1/90000 s."""
    sink, rng = io.BytesIO(), np.random.default_rng(0)
    texture_HW = rng.integers(40, 200, (96, 96 + 4 * num_frames), np.uint8)
    with av.open(sink, "w", format="mp4") as container:
        stream = cast(av.VideoStream, container.add_stream(codec, rate=30, options=options | {"threads": "1"}))
        stream.height, stream.width, stream.pix_fmt = 96, 96, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 90000)
        for number in range(num_frames):
            moved_HW = texture_HW[:, 4 * number : 4 * number + 96]
            frame = av.VideoFrame.from_ndarray(np.stack([moved_HW] * 3, axis=2), format="rgb24")
            frame.pts, frame.time_base = pts[number], Fraction(1, 90000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return sink.getvalue()


EVEN = [3000 * number for number in range(40)]
UNEVEN = np.cumsum(np.random.default_rng(1).integers(1500, 9000, 40)).tolist()


@pytest.mark.parametrize(
    ("pts", "options"),
    [
        (EVEN, {"bf": "3", "b_strategy": "0", "g": "15"}),
        (EVEN, {"bf": "5", "b_strategy": "0", "g": "40", "x264-params": "b-pyramid=strict:ref=4"}),
        (UNEVEN, {"bf": "3", "b_strategy": "0", "g": "12", "x264-params": "open-gop=1"}),
        (EVEN, {"tune": "zerolatency", "g": "10"}),
    ],
    ids=["b_frames", "pyramid", "vfr_open_gop", "no_reordering"],
)
def test_any_choice_of_frames_is_what_decoding_everything_gives(row_of: RowOf, pts: list[int], options: dict[str, str]):
    mp4 = packets(40, pts, options)
    row, view = row_of("a", mp4), ViewConfig(num_frames=40, fps=None, height=48, width=48)
    shown_T, rng = row["frame_pts"], np.random.default_rng(2)
    pictures = Pictures(row, view)
    with av.open(io.BytesIO(mp4), "r") as container:
        frames = list(container.decode(video=0))
    whole_THWC = pictures.rgb([pictures.yuv(frame) for frame in frames], frames[-1])
    for _ in range(60):
        chosen = np.sort(rng.choice(40, rng.integers(1, 9), replace=False)).tolist()
        found_THWC = decode_frames(mp4, [shown_T[number] for number in chosen], row, view)
        np.testing.assert_array_equal(found_THWC, whole_THWC[chosen])


def test_only_what_is_needed_is_decoded(row_of: RowOf, monkeypatch: pytest.MonkeyPatch):
    """40 frames, key frames at 0, 20; I P and three B-frames in turn, so every fourth frame is referred to."""
    x264 = "b-pyramid=none:b-adapt=0:scenecut=0:keyint=20:min-keyint=20:weightp=0"
    mp4 = packets(40, EVEN, {"bf": "3", "x264-params": x264})
    row = row_of("a", mp4)
    decoded: list[int] = []
    monkeypatch.setattr(decode, "_whole", lambda *_: pytest.fail("everything is decoded"))
    for wanted in ([20], [20, 28], [22, 30]):
        shown = {row["frame_pts"][number] for number in wanted}
        frames = [row["frame_pts"].index(frame.pts) for frame in decode._partial(mp4, shown)]
        decoded.append(len(frames))
        assert set(wanted) <= set(frames)
        assert min(frames) >= wanted[0]
        assert max(frames) == wanted[-1]
        assert all(number in wanted or (number - 20) % 4 == 0 for number in frames)
    assert decoded == [1, 3, 4]


def framed(height: int, width: int, top: int, bottom: int, left: int, right: int) -> bytes:
    """One picture of white in a black frame of so many px."""
    grey_HW = np.full((height, width), 16, np.uint8)
    grey_HW[top : height - bottom, left : width - right] = 235
    return one_picture(grey_HW)


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_the_inner_box_has_no_border_however_the_picture_is_turned(row_of: RowOf, degrees: int):
    """Borders in coded px: 16 top, 32 right, 48 bottom, 0 left; the columns name those of the upright picture."""
    mp4 = framed(128, 160, top=16, bottom=48, left=0, right=32)
    coded = [16 / 128, 32 / 160, 48 / 128, 0.0]  # clockwise from the top
    upright = [coded[(side + degrees // 90) % 4] for side in range(4)]
    row = row_of("a", mp4, rotation_deg=degrees) | dict(zip(BORDER_COLUMNS, upright, strict=True))
    view = ViewConfig(num_frames=1, fps=None, height=16, width=16)
    whole, inner = (
        decode_clip(mp4, row, view.model_copy(update={"crop": crop}))[0] for crop in ("center", "inner_box")
    )
    assert whole.min() < 20
    assert inner.min() > 240


def test_borders_that_are_unknown_or_meet_leave_the_whole_picture():
    row = {"rotation_deg": 0, **dict.fromkeys(BORDER_COLUMNS)}
    assert inner_shares(row) == (0, 0, 0, 0)
    assert inner_shares(row | {"border_top": 0.25}) == (0.25, 0, 0, 0)
    assert inner_shares(dict.fromkeys(BORDER_COLUMNS, 0.5) | {"rotation_deg": 0}) == (0, 0, 0, 0)
