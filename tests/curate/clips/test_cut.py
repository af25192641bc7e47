"""The whole step through the safe child: rows in, a verified file and its facts out."""

import av
import pytest

from curate.clips.cut import CutConfig, cut_clip
from shards.config import parse_config
from shards.errors import ConfigError, MediaError
from shards.frames_digest import frame_hash, frames_digest
from tests.curate.cut_sources import draw, framemd5
from tests.curate.videos import ffmpeg


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cut-step")


@pytest.fixture
def cut(media_child, tmp_path):
    """Cut frames [first, last) of a file."""

    def run(path, first, last, num_frames=None, **config):
        video = media_child.call("probe", path=str(path))["columns"]
        step = (video["end_pts"] - video["start_pts"]) // video["num_packets"]
        clip = {
            **{name: video[name] for name in ("stream_index", "time_base_num", "time_base_den")},
            "start_pts": video["start_pts"] + first * step,
            "end_pts": video["start_pts"] + last * step,
            "num_frames": last - first if num_frames is None else num_frames,
        }
        return cut_clip(media_child, path, video, clip, tmp_path / "clip.mp4", parse_config(CutConfig, config))

    return run


def test_a_copy_tells_everything_that_the_index_needs(cut, folder):
    source = draw(folder, "h264 with B-frames, closed groups")
    key = source.pts.index(source.key_pts[1])
    result = cut(source.path, key + 5, key + 15)
    assert (result.mode, result.fallback, result.encoded_frames) == ("copy", None, 0)
    assert (result.num_frames, result.preroll_frames) == (10, 5)
    assert result.decoded_frames >= 15
    assert result.frame_pts == [index * 512 for index in range(10)]
    assert (result.time_base_num, result.time_base_den) == (1, 12800)
    assert (result.codec, result.pix_fmt, result.width, result.height) == ("h264", "yuv420p", 160, 90)
    assert result.size_bytes == result.path.stat().st_size
    assert framemd5(result.path) == source.md5[key + 5 : key + 15]


def test_what_cannot_be_copied_is_encoded_and_says_why(cut, folder):
    old = folder / "old.avi"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=160x90:r=25:d=1", "-c:v", "mpeg4", str(old))
    result = cut(old, 5, 20)
    assert (result.mode, result.fallback) == ("encode", "codec")
    assert (result.num_frames, result.encoded_frames, result.codec) == (15, 15, "h264")

    source = draw(folder, "h264 with B-frames, closed groups")
    result = cut(source.path, source.pts.index(source.key_pts[1]) + 9, source.pts.index(source.key_pts[1]) + 12)
    assert (result.mode, result.fallback, result.num_frames) == ("encode", "preroll", 3)


def test_a_copy_that_turns_out_inexact_is_encoded(cut, folder):
    source = draw(folder, "h264 refreshed without key frames")
    result = cut(source.path, 60, 90)
    assert (result.mode, result.fallback, result.num_frames) == ("encode", "wrong_count", 30)
    assert result.decoded_frames > 30  # the refused copy was decoded too


def test_encoding_by_choice_may_resize(cut, folder):
    source = draw(folder, "vp9")
    result = cut(source.path, 20, 30, mode="encode", encode={"short_side_px": 46, "encoder": "libx265"})
    assert (result.mode, result.fallback, result.codec) == ("encode", None, "hevc")
    assert (result.height, result.width) == (46, 80)
    assert result.num_frames == result.decoded_frames == 10


def test_a_source_that_decodes_badly_after_a_seek_is_encoded_from_its_start(cut, folder):
    source = draw(folder, "h264, open groups")
    result = cut(source.path, 50, 60, mode="encode")
    assert result.num_frames == 10


def test_pictures_are_compared_if_asked_for(cut, folder):
    source = draw(folder, "hevc, open groups, in MP4")
    counted = cut(source.path, 40, 70)
    compared = cut(source.path, 40, 70, verify="frames")
    assert compared.mode == "copy"
    assert counted.decoded_digest is None
    with av.open(str(source.path)) as container:
        frames = [frame for frame in container.decode(video=0) if frame.pts in source.pts[40:70]]
    assert compared.decoded_digest == frames_digest(map(frame_hash, frames))  # of the source, decoded from its start
    assert compared.decoded_frames == counted.decoded_frames + 2 * 30  # the clip's frames and the source's


def test_a_plan_that_no_file_fulfils_is_an_error_and_leaves_no_file(cut, folder, tmp_path):
    source = draw(folder, "vp9")
    with pytest.raises(MediaError, match="clip presents 10 frames; 11 are planned") as error:
        cut(source.path, 20, 30, num_frames=11)
    assert error.value.code == "cut_not_exact"
    assert not (tmp_path / "clip.mp4").exists()


def test_a_clip_file_is_verified_in_the_child(media_child, cut, folder):
    result = cut(draw(folder, "vp9").path, 20, 30)
    seen = media_child.call("verify", path=str(result.path), num_frames=10, frame_pts=list(result.frame_pts))
    assert seen["frame_pts"] == result.frame_pts
    with pytest.raises(MediaError) as error:
        media_child.call("verify", path=str(result.path), num_frames=9)
    assert error.value.code == "wrong_count"


def test_a_size_for_copies_is_refused_and_names_the_knob():
    with pytest.raises(ConfigError, match="set mode to encode, or"):
        parse_config(CutConfig, {"encode": {"short_side_px": 256}})
