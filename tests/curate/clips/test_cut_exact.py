"""Copied clips of every kind of source: count, times and every pixel, by two decoders."""

from dataclasses import replace
from fractions import Fraction

import av
import pytest

from curate.clips.copy import CopyPlan, copy_clip
from curate.clips.packets import CopyRefused
from curate.clips.verify import CutNotExact, check_presented, check_same_frames, decode_clip
from tests.curate.cut_sources import SOURCES, Source, draw, framemd5, read_source
from tests.curate.videos import ffmpeg, ffmpeg_pts

EXACT = [name for name in SOURCES if name != "h264 refreshed without key frames"]


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cut-sources")


def copied(source: Source, first: int, last: int, out, max_preroll: float = 100) -> CopyPlan:
    return copy_clip(source.path, 0, source.pts[first], source.end_of(last), out, max_preroll)


def assert_exact(source: Source, first: int, last: int, plan: CopyPlan, out) -> None:
    with av.open(str(out)) as container:
        assert container.streams.video[0].time_base == Fraction(1, source.time_base.denominator)
        pts = [frame.pts for frame in container.decode(video=0)]
    num = source.time_base.numerator
    assert pts == plan.frame_pts == [(one - source.pts[first]) * num for one in source.pts[first:last]]
    assert framemd5(out) == source.md5[first:last]
    presented = decode_clip(out)
    check_presented(presented, last - first, plan.frame_pts)
    assert presented.preroll_frames == plan.preroll_frames
    assert presented.decoded_frames == len(plan.pts_P)


@pytest.mark.parametrize("name", EXACT)
def test_a_copy_presents_exactly_the_planned_frames(name, folder, tmp_path):
    source = draw(folder, name)
    second_key = source.pts.index(sorted(source.key_pts)[1])
    num_frames = len(source.pts)
    assert len(source.md5) == num_frames
    for first, last in [(0, 20), (second_key, second_key + 25), (41, 77), (num_frames - 9, num_frames), (50, 51)]:
        out = tmp_path / f"{first}.mp4"
        assert_exact(source, first, last, copied(source, first, last, out), out)


def test_a_cut_at_a_key_frame_of_a_closed_group_hides_nothing(folder, tmp_path):
    source = draw(folder, "h264 with B-frames, closed groups")
    plan = copied(source, source.pts.index(source.key_pts[1]), 50, tmp_path / "clip.mp4", max_preroll=0)
    assert plan.preroll_frames == 0


def test_a_span_far_from_its_key_frame_is_refused_by_max_preroll(folder, tmp_path):
    source = draw(folder, "h264 with B-frames, closed groups")
    key = source.pts.index(source.key_pts[1])
    copied(source, key + 8, key + 16, tmp_path / "clip.mp4", max_preroll=1)  # 8 hidden for 8 shown
    with pytest.raises(CopyRefused, match=r"cut\.max_preroll is 1") as refusal:
        copied(source, key + 9, key + 17, tmp_path / "clip.mp4", max_preroll=1)
    assert refusal.value.code == "preroll"


def test_frames_that_need_more_than_their_key_frame_are_noticed(folder, tmp_path):
    source, out = draw(folder, "h264 refreshed without key frames"), tmp_path / "clip.mp4"
    plan = copied(source, 60, 90, out)
    with pytest.raises(CutNotExact) as refusal:
        check_presented(decode_clip(out), 30, plan.frame_pts)
    assert refusal.value.code == "wrong_count"  # decoders show nothing until the picture is whole


def test_a_source_with_an_edit_list_of_its_own_is_cut_by_what_it_presents(folder, tmp_path):
    whole = draw(folder, "h264 with B-frames, closed groups")
    trimmed = tmp_path / "trimmed.mp4"
    ffmpeg("-ss", "0.5", "-i", str(whole.path), "-c", "copy", str(trimmed))
    source = read_source(trimmed)
    source = replace(source, pts=ffmpeg_pts(trimmed))
    out = tmp_path / "clip.mp4"
    assert_exact(source, 3, 40, copied(source, 3, 40, out), out)


def test_a_turned_picture_stays_turned(folder, tmp_path):
    whole = draw(folder, "h264 with B-frames, closed groups")
    turned = tmp_path / "turned.mp4"
    ffmpeg("-display_rotation", "90", "-i", str(whole.path), "-c", "copy", str(turned))
    source, out = read_source(turned), tmp_path / "clip.mp4"
    assert_exact(source, 35, 70, copied(source, 35, 70, out), out)  # ffmpeg turns both before it hashes
    assert decode_clip(out).rotation_deg == 90


def test_the_container_s_sample_aspect_ratio_is_kept(folder, tmp_path):
    wide = tmp_path / "wide.webm"
    ffmpeg("-i", str(draw(folder, "vp9").path), "-c", "copy", "-aspect", "64:27", str(wide))
    copied(read_source(wide), 0, 10, tmp_path / "clip.mp4")
    presented = decode_clip(tmp_path / "clip.mp4")
    assert (presented.sar_num, presented.sar_den) == (213, 160)  # Matroska says 213x90 px, the nearest to 64:27 of 90


def test_the_same_cut_gives_the_same_bytes(folder, tmp_path):
    source = draw(folder, "hevc, open groups, in MP4")
    for name in ("one.mp4", "two.mp4"):
        copied(source, 33, 61, tmp_path / name)
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "two.mp4").read_bytes()


def test_a_codec_that_mp4_cannot_carry_exactly_is_refused(tmp_path):
    path = tmp_path / "old.avi"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=160x90:r=25:d=1", "-c:v", "mpeg4", str(path))
    with pytest.raises(CopyRefused, match="codec is mpeg4") as refusal:
        copy_clip(path, 0, 0, 10, tmp_path / "clip.mp4", 1)
    assert refusal.value.code == "codec"


def test_pictures_of_another_span_are_noticed(folder, tmp_path):
    source = draw(folder, "vp9")
    copied(source, 10, 20, tmp_path / "clip.mp4")
    assert check_same_frames(tmp_path / "clip.mp4", source.path, 0, source.pts[10], source.pts[20]).decoded_frames == 20
    with pytest.raises(CutNotExact, match="10 of 10 frames differ"):
        check_same_frames(tmp_path / "clip.mp4", source.path, 0, source.pts[11], source.pts[21])
