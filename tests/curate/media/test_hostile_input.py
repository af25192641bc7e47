import os
import socket
import struct
from pathlib import Path

import pyarrow as pa
import pytest

from curate.inputs.ingest import IngestConfig, expand_inputs, local_path, probe_videos
from curate.media.child import MediaChild
from curate.scan import ScanConfig, scan_video
from tests.curate.videos import ffmpeg, moving_square, write_audio, write_video

CANARY_FRAMES = 7


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "inputs"
    path.mkdir()
    return path


def rows_of(folder: Path, child: MediaChild) -> list[dict]:
    table = probe_videos(expand_inputs([str(folder)], IngestConfig()), child)
    assert isinstance(table, pa.Table)
    return table.to_pylist()


def code_of(folder: Path, child: MediaChild) -> str | None:
    (row,) = rows_of(folder, child)
    assert row["status"] == "failed"
    assert row["error_detail"]
    assert "Traceback" not in row["error_detail"]
    return row["error"]


def small_mp4(path: Path, num_frames: int = 50, **options: str) -> Path:
    return write_video(path, moving_square(num_frames), options={"g": "10"}, muxer=options)


def test_an_empty_file_is_named_empty(folder, media_child):
    (folder / "a.mp4").touch()
    assert code_of(folder, media_child) == "empty_file"


def test_random_bytes_are_no_video(folder, media_child):
    (folder / "a.mp4").write_bytes(os.urandom(1 << 16))
    assert code_of(folder, media_child) == "not_a_video"


def test_an_mp4_whose_index_is_cut_off_is_truncated(folder, media_child):
    data = small_mp4(folder / "a.mp4").read_bytes()
    (folder / "a.mp4").write_bytes(data[: len(data) // 2])
    assert code_of(folder, media_child) == "truncated"


def test_a_recording_that_was_never_finished_is_truncated(folder, media_child):
    data = small_mp4(folder / "a.mp4").read_bytes()
    start = data.index(b"mdat") - 4
    (folder / "a.mp4").write_bytes(data[:start] + bytes(4) + data[start + 4 : len(data) // 2])
    assert code_of(folder, media_child) == "truncated"


def test_bytes_after_the_last_box_are_not_missed(folder, media_child):
    with small_mp4(folder / "a.mp4").open("ab") as file:
        file.write(bytes(5))
    (row,) = rows_of(folder, media_child)
    assert (row["status"], row["error"]) == ("ok", None)


def test_an_mp4_with_its_index_in_front_is_used_up_to_where_it_ends(folder, media_child, tmp_path):
    data = small_mp4(folder / "a.mp4", movflags="faststart").read_bytes()
    (folder / "a.mp4").write_bytes(data[: len(data) * 3 // 4])
    (row,) = rows_of(folder, media_child)
    assert (row["status"], row["error"]) == ("ok", "truncated")
    assert 10 < row["num_packets"] < 50
    with scan_video(media_child, row, tmp_path, ScanConfig()) as result:
        assert 10 < len(result.scan.pts_T) <= row["num_packets"]
        assert len(result.scan.pts_T) + len(result.scan.lost_pts) == row["num_packets"]


def test_audio_alone_has_no_video_stream(folder, media_child):
    write_audio(folder / "a.mp4")
    assert code_of(folder, media_child) == "no_video_stream"


def test_a_cover_picture_is_no_video_stream(folder, media_child):
    write_audio(folder / "audio.m4a")
    ffmpeg("-f", "lavfi", "-i", "color=red:s=64x64", "-frames:v", "1", str(folder / "cover.png"))
    inputs = ("-i", str(folder / "audio.m4a"), "-i", str(folder / "cover.png"))
    ffmpeg(*inputs, "-map", "0", "-map", "1", "-c", "copy", "-disposition:v", "attached_pic", str(folder / "a.mp4"))
    assert code_of(folder, media_child) == "no_video_stream"


PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{canary}\n#EXT-X-ENDLIST\n",
    "hls_map": '#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXT-X-MAP:URI="{canary}"\n#EXTINF:9,\n{canary}\n#EXT-X-ENDLIST\n',
    "ffconcat": "ffconcat version 1.0\nfile {canary}\n",
    "hls_network": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:{port}/x.ts\n#EXT-X-ENDLIST\n",
    "dash": '<?xml version="1.0"?><MPD><Period><AdaptationSet><Representation><BaseURL>{canary}</BaseURL>'
    "</Representation></AdaptationSet></Period></MPD>",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video {port} RTP/AVP 96\na=rtpmap:96 H264/90000\n",
}


@pytest.mark.parametrize("kind", PLAYLISTS)
def test_a_playlist_named_mp4_reads_no_other_file_and_no_network(folder, media_child, tmp_path, kind):
    canary = write_video(folder / "canary.ts", moving_square(CANARY_FRAMES))
    os.utime(canary, ns=(0, canary.stat().st_mtime_ns))
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        port = server.getsockname()[1]
        (folder / "a.mp4").write_text(PLAYLISTS[kind].format(canary="canary.ts", port=port))
        table = expand_inputs([str(folder / "a.mp4")], IngestConfig())
        (row,) = probe_videos(table, media_child).to_pylist()
        assert (row["status"], row["error"]) == ("failed", "not_a_video")
        with pytest.raises(BlockingIOError):
            server.accept()
    assert canary.stat().st_atime_ns == 0


def test_a_quicktime_reference_to_another_file_is_not_followed(folder, media_child):
    data = small_mp4(folder / "a.mp4").read_bytes()
    canary = b"file:///etc/hostname\0"
    here = struct.pack(">I4sI", 12, b"url ", 1)
    assert data.count(here) == 1
    there = struct.pack(">I4sI", 12 + len(canary), b"url ", 0) + canary
    (folder / "a.mp4").write_bytes(data.replace(here, there))
    (row,) = rows_of(folder, media_child)
    assert row["num_packets"] is None or row["num_packets"] <= 50


def test_a_missing_path_keeps_its_row(media_child, tmp_path):
    table = probe_videos(expand_inputs([str(tmp_path / "nowhere.mp4")], IngestConfig()), media_child)
    (row,) = table.to_pylist()
    assert (row["uri"], row["status"], row["error"]) == (str(tmp_path / "nowhere.mp4"), "failed", "missing")


def test_a_symlink_loop_keeps_its_row(folder, media_child):
    (folder / "a.mp4").symlink_to(folder / "b.mp4")
    (folder / "b.mp4").symlink_to(folder / "a.mp4")
    assert [row["error"] for row in rows_of(folder, media_child)] == ["symlink_loop", "symlink_loop"]


def test_a_folder_that_holds_itself_is_walked_once(folder, media_child):
    small_mp4(folder / "a.mp4")
    (folder / "self").symlink_to(folder)
    assert [row["status"] for row in rows_of(folder, media_child)] == ["ok"]


def test_a_fifo_and_a_folder_with_a_videos_name_are_no_regular_files(folder, media_child):
    os.mkfifo(folder / "pipe.mp4")
    (folder / "folder.mp4").mkdir()
    assert [row["error"] for row in rows_of(folder, media_child)] == ["not_a_regular_file"] * 2


@pytest.mark.parametrize(
    "name",
    [
        b"with space.mp4",
        b"quote'\".mp4",
        b"new\nline.mp4",
        b"-i.mp4",
        b"http:x.mp4",
        b"caf\xc3\xa9.mp4",
        b"latin-\xe9.mp4",
        b"[1]*?.mp4",
        b"%2e%20.mp4",
        b"file:x.mp4",
    ],
)
def test_odd_names_are_read_and_lead_back_to_their_file(folder, media_child, tmp_path, name):
    source = small_mp4(tmp_path / "plain.mp4", num_frames=10)
    path = Path(os.fsdecode(os.path.join(os.fsencode(folder), name)))
    source.rename(path)
    (row,) = rows_of(folder, media_child)
    assert (row["status"], row["num_packets"]) == ("ok", 10)
    assert local_path(row["uri"]) == path
    with scan_video(media_child, row, tmp_path, ScanConfig()) as result:
        assert len(result.scan.pts_T) == 10


def test_a_picture_of_billions_of_pixels_is_refused_unread(folder, media_child):
    data = bytearray(small_mp4(folder / "a.mp4").read_bytes())
    entry = data.index(b"avc1", data.index(b"stsd"))
    data[entry + 28 : entry + 32] = struct.pack(">HH", 65535, 65535)
    (folder / "a.mp4").write_bytes(data)
    (row,) = rows_of(folder, media_child)
    assert row["error"] == "too_many_pixels" or row["width"] == 160  # the codec's own header wins where FFmpeg reads it
    assert media_child.usage.max_rss_bytes < 300 << 20


def test_a_picture_above_the_limit_is_refused(folder, media_child):
    write_video(folder / "a.mp4", moving_square(3, width=320, height=200))
    tight = media_child.config.model_copy(
        update={"limits": media_child.config.limits.model_copy(update={"max_pixels": 319 * 200})}
    )
    with MediaChild(tight, media_child.scratch) as child:
        assert code_of(folder, child) == "too_many_pixels"


def test_the_good_file_among_bad_ones_is_unharmed(folder, media_child):
    (folder / "a.mp4").write_bytes(b"\0" * 4096)
    (folder / "b.mp4").touch()
    small_mp4(folder / "c.mp4")
    (folder / "d.mp4").write_text("#EXTM3U\nfile:///etc/passwd\n")
    assert [row["status"] for row in rows_of(folder, media_child)] == ["failed", "failed", "ok", "failed"]


def test_damaged_packets_cost_their_own_frames_only(folder, media_child, tmp_path):
    path = write_video(folder / "a.mp4", moving_square(100), options={"g": "10", "bf": "0"})
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 4
    middle = start + (len(data) - start) // 2
    data[middle : middle + 60] = bytes(60)
    path.write_bytes(data)
    (row,) = rows_of(folder, media_child)
    with scan_video(media_child, row, tmp_path, ScanConfig()) as result:
        assert row["num_packets"] == 100
        assert 90 <= len(result.scan.pts_T) == 100 - len(result.scan.lost_pts)
