from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from curate.inputs.ingest import IngestConfig, expand_inputs, probe_videos
from curate.media.child import MediaChild
from curate.scan import ModelFramesConfig, ScanConfig, ScanResult, model_size, scan_video, small_size
from shards.errors import MediaError
from tests.curate.videos import ffmpeg, ffmpeg_pts, grey_levels, moving_square, write_video


@pytest.fixture
def scan(media_child: MediaChild, tmp_path: Path):
    """Scans every frame of a file; the files of the result live as long as the test."""
    results = []

    def run(path: Path, config: ScanConfig | None = None) -> ScanResult:
        (row,) = probe_videos(expand_inputs([str(path)], IngestConfig()), media_child).to_pylist()
        assert row["status"] == "ok", row["error_detail"]
        results.append(scan_video(media_child, row, tmp_path, config or ScanConfig(coarse=False)))
        return results[-1]

    yield run
    for result in results:
        with result:
            pass


def square_centre(grey_HW: np.ndarray) -> float:
    """Column of the white square's centre."""
    return float(np.nonzero((grey_HW > 180).any(axis=0))[0].mean()) + 0.5


def bgr_of(jpeg) -> np.ndarray:
    picture = cv2.imdecode(np.frombuffer(jpeg.as_py(), np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return picture


ENCODINGS = {
    "h264 with B-frames.mp4": {"options": {"bf": "3", "g": "12"}},
    "h264 open GOP.mkv": {"options": {"bf": "3", "g": "12", "x264-params": "open-gop=1"}},
    "h264.ts": {"options": {"bf": "3"}},
    "h264.flv": {"options": {"bf": "3"}},
    "hevc.mp4": {"codec": "libx265", "options": {"x265-params": "log-level=none"}},
    "vp8.webm": {"codec": "libvpx", "options": {"auto-alt-ref": "1", "lag-in-frames": "16", "b": "100k"}},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}},
    "mpeg4 with B-frames.avi": {"codec": "mpeg4", "options": {"bf": "2"}},
    "mpeg2.mpg": {"codec": "mpeg2video", "options": {"bf": "2"}},
    "mjpeg.mov": {"codec": "mjpeg", "pix_fmt": "yuvj422p"},
    "ntsc.mkv": {"rate": Fraction(30000, 1001)},
}


@pytest.mark.parametrize("name", ENCODINGS)
def test_every_frame_has_the_pts_that_ffmpeg_gives_it(scan, tmp_path, name):
    path = write_video(tmp_path / name, moving_square(40), **ENCODINGS[name])
    result = scan(path)
    assert result.scan.pts_T.tolist() == ffmpeg_pts(path)
    assert len(result.scan.lost_pts) == 0
    assert result.decoded_frames == 40


def test_variable_rate_keeps_each_frames_time(scan, tmp_path):
    pts = [0, 1, 2, 10, 11, 40, 41, 100, 250, 251]
    path = write_video(tmp_path / "a.mkv", moving_square(10), pts=pts, time_base=Fraction(1, 1000), options={"bf": "0"})
    assert scan(path).scan.pts_T.tolist() == pts


def test_small_frames_show_the_square_where_it_is(scan, tmp_path):
    result = scan(write_video(tmp_path / "a.mp4", moving_square(20, step_px=4), options={"crf": "10"}))
    span = result.scan.of(int(result.scan.pts_T[0]), result.scan.end_pts)
    scale = result.scan.width / 160
    centres = [square_centre(grey_HW) for grey_HW in span.grey_THW]
    assert centres == pytest.approx([(8 + 4 * index) * scale for index in range(20)], abs=1.0)
    assert (result.scan.width, result.scan.height) == (124, 76)


def test_a_large_picture_is_the_mean_of_its_areas(scan, tmp_path):
    frames_THWC = moving_square(2, width=1920, height=1080)
    frames_THWC[:, :540] = 30
    result = scan(write_video(tmp_path / "a.mp4", frames_THWC, options={"crf": "5", "preset": "ultrafast"}))
    (first_HW, _) = result.scan.of(int(result.scan.pts_T[0]), result.scan.end_pts).grey_THW
    assert first_HW.shape == (72, 128)
    assert first_HW[:35].mean() == pytest.approx(16 + 30 * 219 / 255, abs=1)
    expected_W = 16 + np.linspace(40, 120, 128) * 219 / 255
    assert np.abs(first_HW[50] - expected_W).max() < 6  # blue is constant 80, so luma runs a little less steep


@pytest.mark.parametrize("turn_deg", [0, 90, 180, 270])
def test_rotated_video_is_scanned_upright(scan, tmp_path, turn_deg):
    frames_THWC = grey_levels([40] * 5)
    frames_THWC[:, :32, :32] = 250
    plain = write_video(tmp_path / "plain.mp4", frames_THWC)
    path = tmp_path / "turned.mp4"
    ffmpeg("-display_rotation", str(turn_deg), "-i", str(plain), "-c", "copy", str(path))
    ffmpeg("-i", str(path), "-frames:v", "1", str(tmp_path / "witness.png"))
    witness_HW = cv2.imread(str(tmp_path / "witness.png"), cv2.IMREAD_GRAYSCALE)
    assert witness_HW is not None
    result = scan(path)
    grey_HW = result.scan.of(int(result.scan.pts_T[0]), result.scan.end_pts).grey_THW[0]
    assert (grey_HW.shape[0] < grey_HW.shape[1]) == (turn_deg % 180 == 0)
    for small_HW in (grey_HW, cv2.cvtColor(bgr_of(result.frames["jpeg"][0]), cv2.COLOR_BGR2GRAY)):
        assert _bright_corner(small_HW) == _bright_corner(witness_HW)


def _bright_corner(grey_HW: np.ndarray) -> tuple[bool, bool]:
    rows, columns = np.nonzero(grey_HW > 150)
    return bool(rows.mean() > grey_HW.shape[0] / 2), bool(columns.mean() > grey_HW.shape[1] / 2)


PIXEL_FORMATS = {
    "yuv420p10le": ("libx265", {"x265-params": "log-level=none"}, ".mp4"),
    "yuv444p": ("libx264", {}, ".mp4"),
    "yuv422p10le": ("prores_ks", {}, ".mov"),
    "yuvj420p": ("mjpeg", {}, ".avi"),
    "rgb24": ("png", {}, ".mov"),
    "gray": ("ffv1", {}, ".mkv"),
    "bgra": ("png", {}, ".mov"),
}


@pytest.mark.parametrize("pix_fmt", PIXEL_FORMATS)
def test_every_pixel_format_gives_the_same_grey(scan, tmp_path, pix_fmt):
    codec, options, suffix = PIXEL_FORMATS[pix_fmt]
    pix_fmt = "rgba" if pix_fmt == "bgra" else pix_fmt
    path = write_video(tmp_path / f"a{suffix}", grey_levels([128] * 3), codec=codec, pix_fmt=pix_fmt, options=options)
    result = scan(path)
    grey_THW = result.scan.of(int(result.scan.pts_T[0]), result.scan.end_pts).grey_THW
    full_range = pix_fmt == "yuvj420p"
    assert grey_THW.mean() == pytest.approx(128 if full_range else 16 + 128 * 219 / 255, abs=2)
    assert result.counts["converted_frames"] == (0 if "yuv" in pix_fmt else 3)
    assert bgr_of(result.frames["jpeg"][0]).mean() == pytest.approx(128, abs=3)


@pytest.mark.parametrize("matrix", ["bt709", "smpte170m", "bt2020nc"])
@pytest.mark.parametrize("full_range", ["pc", "tv"])
def test_model_frames_have_the_colours_that_were_drawn(scan, tmp_path, matrix, full_range):
    path = tmp_path / "a.mp4"
    colour = f"scale=out_color_matrix={matrix}:out_range={full_range},format=yuv420p"
    source = ("-f", "lavfi", "-i", "color=#C83214:s=160x96:d=0.2,format=rgb24")
    ffmpeg(*source, "-vf", colour, "-colorspace", matrix, "-color_range", full_range, "-c:v", "libx264", str(path))
    picture_HWC = bgr_of(scan(path).frames["jpeg"][0])
    assert picture_HWC.mean(axis=(0, 1)) == pytest.approx([0x14, 0x32, 0xC8], abs=6)


@pytest.mark.parametrize(
    ("pix_fmt", "codec", "tolerance"), [("rgb24", "png", 4), ("rgba", "png", 4), ("rgb8", "gif", 20)]
)
def test_colours_survive_the_way_through_swscale(scan, tmp_path, pix_fmt, codec, tolerance):
    red_THWC = np.full((2, 96, 160, 3), (200, 50, 20), np.uint8)
    suffix = ".gif" if codec == "gif" else ".mov"
    result = scan(write_video(tmp_path / f"a{suffix}", red_THWC, codec=codec, pix_fmt=pix_fmt))
    picture_HWC = bgr_of(result.frames["jpeg"][0])
    assert picture_HWC.mean(axis=(0, 1)) == pytest.approx([20, 50, 200], abs=tolerance)


def test_model_frames_are_the_first_at_or_after_each_multiple_of_the_interval(scan, tmp_path):
    path = write_video(tmp_path / "a.mp4", moving_square(50), rate=25)
    config = ScanConfig(model_frames=ModelFramesConfig(interval_s=0.3), coarse=False)
    result = scan(path, config)
    base = result.scan.time_base
    times_s = [Fraction(pts) * base for pts in result.frames["pts"].to_pylist()]
    assert times_s == [Fraction(index, 25) for index in (0, 8, 15, 23, 30, 38, 45)]  # 0, 0.3, 0.6, … up to 2 s
    assert set(result.frames["video_id"].to_pylist()) == {result.frames["video_id"][0].as_py()}


def test_model_frames_after_a_long_gap_do_not_pile_up(scan, tmp_path):
    pts = [0, 100, 5000, 5100, 5600]
    path = write_video(tmp_path / "a.mkv", moving_square(5), pts=pts, time_base=Fraction(1, 1000), options={"bf": "0"})
    assert scan(path).frames["pts"].to_pylist() == [0, 5000, 5600]


def test_scanning_twice_gives_the_same_bytes(scan, tmp_path):
    path = write_video(tmp_path / "a.mp4", moving_square(30))
    first, second = scan(path), scan(path)
    assert first.frames.equals(second.frames)
    assert first.scan.small_path.read_bytes() == second.scan.small_path.read_bytes()


def test_times_that_two_frames_share_are_lost_and_the_others_kept(scan, tmp_path):
    long = write_video(tmp_path / "long.ts", moving_square(30), options={"bf": "0"})
    short = write_video(tmp_path / "short.ts", moving_square(10), options={"bf": "0"})
    path = tmp_path / "a.ts"
    path.write_bytes(long.read_bytes() + short.read_bytes())
    result = scan(path)
    assert result.decoded_frames == 40
    assert result.counts["ambiguous_frames"] == 20
    assert len(result.scan.pts_T) == 20
    assert len(result.scan.lost_pts) == 10
    assert not set(result.scan.lost_pts.tolist()) & set(result.scan.pts_T.tolist())


def test_a_container_without_times_of_presentation_is_refused(scan, tmp_path):
    path = write_video(tmp_path / "a.avi", moving_square(40), options={"bf": "3", "b_strategy": "0"})
    with pytest.raises(MediaError) as caught:
        scan(path)
    assert caught.value.code == "no_presentation_times"


def test_a_failed_scan_leaves_nothing_in_scratch(media_child, tmp_path):
    path = write_video(tmp_path / "a.mp4", moving_square(5))
    (row,) = probe_videos(expand_inputs([str(path)], IngestConfig()), media_child).to_pylist()
    path.unlink()
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with pytest.raises(MediaError) as caught:
        scan_video(media_child, row, scratch, ScanConfig())
    assert caught.value.code == "missing"
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize(
    ("size", "sar", "expected"),
    [
        ((1920, 1080), 1, (128, 72)),
        ((1080, 1920), 1, (72, 128)),
        ((640, 480), 1, (112, 84)),
        ((720, 576), Fraction(16, 15), (112, 84)),
        ((960, 1080), 2, (128, 72)),
        ((10000, 10), 1, (1152, 8)),
    ],
)
def test_small_frames_have_the_displayed_aspect_and_sides_of_four(size, sar, expected):
    width, height = size
    assert small_size(width, height, Fraction(sar), 128 * 72) == expected


@pytest.mark.parametrize(
    ("size", "sar", "expected"),
    [
        ((1920, 1080), 1, (512, 288)),
        ((320, 240), 1, (320, 240)),
        ((1080, 1920), 1, (288, 512)),
        ((960, 1080), 2, (512, 288)),
        ((352, 288), Fraction(12, 11), (352, 264)),
        ((352, 288), Fraction(11, 12), (352, 314)),
    ],
)
def test_model_frames_have_square_pixels_and_are_never_enlarged_beyond_the_longer_side(size, sar, expected):
    width, height = size
    assert model_size(width, height, Fraction(sar), 512) == expected
