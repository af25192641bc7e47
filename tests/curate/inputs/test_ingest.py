import csv
import hashlib
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.inputs.ingest import IngestConfig, expand_inputs, input_identity, local_path, probe_videos
from curate.inputs.uris import is_remote, local_uri
from shards.errors import ConfigError
from shards.schema import VIDEO, strings
from tests.curate.videos import moving_square, write_video

CONFIG = IngestConfig()


def uris_of(*inputs: object) -> list[str]:
    return strings(expand_inputs([str(item) for item in inputs], CONFIG), "uri")


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_a_folder_gives_its_videos_sorted_and_ignores_the_rest(tmp_path, caplog):
    touch(tmp_path / "b.MP4", tmp_path / "a/z.webm", tmp_path / "notes.txt", tmp_path / "a/cover.jpg")
    with caplog.at_level("INFO"):
        assert uris_of(tmp_path) == [str(tmp_path / "a/z.webm"), str(tmp_path / "b.MP4")]
    assert "2 files without a video's suffix" in caplog.text


def test_a_named_file_is_taken_whatever_its_suffix(tmp_path):
    touch(tmp_path / "clip.bin")
    assert uris_of(tmp_path / "clip.bin") == [str(tmp_path / "clip.bin")]


def test_a_glob_gives_what_it_matches(tmp_path):
    touch(tmp_path / "a/1.mp4", tmp_path / "b/2.mp4", tmp_path / "b/3.mkv")
    assert uris_of(tmp_path / "*/*.mp4") == [str(tmp_path / "a/1.mp4"), str(tmp_path / "b/2.mp4")]
    assert uris_of(tmp_path / "**/*.m*") == [str(tmp_path / name) for name in ("a/1.mp4", "b/2.mp4", "b/3.mkv")]


def test_a_glob_that_matches_nothing_keeps_a_row_that_fails_as_missing(tmp_path, media_child):
    (row,) = probe_videos(expand_inputs([str(tmp_path / "*.mp4")], CONFIG), media_child).to_pylist()
    assert (row["status"], row["error"]) == ("failed", "missing")


def test_one_uri_is_one_row_however_often_it_is_named(tmp_path, monkeypatch):
    touch(tmp_path / "a.mp4")
    monkeypatch.chdir(tmp_path)
    assert uris_of("a.mp4", "./a.mp4", tmp_path / "a.mp4", tmp_path, "*.mp4") == [str(tmp_path / "a.mp4")]


def test_text_beside_a_video_is_its_caption(tmp_path):
    touch(tmp_path / "a.mp4", tmp_path / "b.mp4", tmp_path / "c.mp4")
    (tmp_path / "a.txt").write_bytes("\ufeff a dog \xe9 runs\n".encode())
    (tmp_path / "b.txt").write_text("  \n")
    table = expand_inputs([str(tmp_path)], CONFIG)
    assert table.schema == VIDEO
    assert table["sidecar_caption"].to_pylist() == ["a dog \xe9 runs", None, None]
    without = expand_inputs([str(tmp_path)], IngestConfig(sidecar_text=False))
    assert without["sidecar_caption"].to_pylist() == [None] * 3


def test_text_beside_a_video_that_is_a_link_is_not_read(tmp_path):
    touch(tmp_path / "videos/a.mp4")
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "videos/a.txt").symlink_to(tmp_path / "secret")
    assert expand_inputs([str(tmp_path / "videos")], CONFIG)["sidecar_caption"].to_pylist() == [None]


LINES = [
    {"uri": "sub/a.mp4", "caption": "a dog", "licence": "CC0-1.0", "author": "Ann", "views": 3},
    {"uri": "/abs/b.mp4", "caption": "", "licence": None, "author": "Bob", "views": 4},
]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_lists_give_uri_caption_licence_and_keep_the_rest_as_provenance(tmp_path, kind):
    path = tmp_path / f"list.{kind}"
    if kind == "csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, LINES[0])
            writer.writeheader()
            writer.writerows(LINES)
    elif kind == "jsonl":
        path.write_text("\n".join(json.dumps(line) for line in LINES) + "\n\n")
    else:
        pq.write_table(pa.Table.from_pylist(LINES), path)
    rows = expand_inputs([str(path)], CONFIG).to_pylist()
    assert [row["uri"] for row in rows] == ["/abs/b.mp4", str(tmp_path / "sub/a.mp4")]
    assert [row["sidecar_caption"] for row in rows] == [None, "a dog"]
    assert [row["licence"] for row in rows] == [None, "CC0-1.0"]
    views = "3" if kind == "csv" else 3
    assert json.loads(rows[1]["provenance"]) == {"author": "Ann", "views": views}


def test_a_lists_caption_wins_over_the_text_beside_the_video(tmp_path):
    touch(tmp_path / "a.mp4")
    (tmp_path / "a.txt").write_text("beside")
    (tmp_path / "list.csv").write_text("uri,caption\na.mp4,from the list\n")
    assert expand_inputs([str(tmp_path / "list.csv")], CONFIG)["sidecar_caption"].to_pylist() == ["from the list"]


def test_a_list_may_call_its_columns_otherwise(tmp_path):
    (tmp_path / "list.csv").write_text("path,text,rights\na.mp4,hello,MIT\n")
    config = IngestConfig(uri_column="path", caption_column="text", licence_column="rights")
    (row,) = expand_inputs([str(tmp_path / "list.csv")], config).to_pylist()
    assert (row["sidecar_caption"], row["licence"], row["provenance"]) == ("hello", "MIT", None)


def test_inputs_without_a_licence_get_the_configured_one(tmp_path):
    touch(tmp_path / "a.mp4")
    assert expand_inputs([str(tmp_path)], IngestConfig(licence="CC0-1.0"))["licence"].to_pylist() == ["CC0-1.0"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "path\nx.mp4\n", r"has no 'uri' in row 1, which has \['path'\]; .* ingest\.uri_column"),
        ("a.jsonl", '{"uri": "x.mp4"}\n{"uri": 3}\n', "in row 2"),
        ("a.jsonl", "not json\n", "cannot be read"),
        ("a.jsonl", "[1]\n", "has no 'uri'"),
        ("a.parquet", "not parquet", "cannot be read"),
    ],
)
def test_a_list_that_cannot_be_read_names_the_place(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=message):
        expand_inputs([str(tmp_path / name)], CONFIG)


def test_odd_text_in_a_list_costs_no_other_row(tmp_path):
    lines = [
        {"uri": "a\0.mp4"},
        {"uri": "\ud800.mp4"},
        {"uri": "ftp://x/a.mp4"},
        {"uri": "ok.mp4", "caption": "\ud800 dog"},
    ]
    (tmp_path / "list.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    rows = expand_inputs([str(tmp_path / "list.jsonl")], CONFIG).to_pylist()
    assert sorted(str(row["error"]) for row in rows) == ["None", "bad_name", "bad_name", "unsupported_uri"]
    assert next(row for row in rows if row["error"] is None)["sidecar_caption"] == "? dog"


def test_a_probed_video_has_its_hash_size_and_media_columns(tmp_path, media_child):
    path = write_video(tmp_path / "a.mp4", moving_square(50), options={"g": "25", "bf": "2"})
    (row,) = probe_videos(expand_inputs([str(path)], CONFIG), media_child).to_pylist()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert (row["sha256"], row["video_id"], row["size_bytes"]) == (digest, digest[:16], path.stat().st_size)
    assert (row["codec"], row["width"], row["height"], row["pix_fmt"]) == ("h264", 160, 96, "yuv420p")
    assert (row["num_packets"], row["rate_num"], row["rate_den"], row["is_vfr"]) == (50, 25, 1, False)
    assert (row["end_pts"] - row["start_pts"]) * row["time_base_num"] / row["time_base_den"] == 2
    assert (row["rotation_deg"], row["sar_num"], row["sar_den"], row["interlaced"]) == (0, 1, 1, False)
    assert (row["status"], row["error"], row["has_audio"], row["num_frames"]) == ("ok", None, False, None)


def test_a_row_that_failed_before_is_left_alone(tmp_path, media_child):
    table = expand_inputs(["ftp://x/a.mp4"], CONFIG)
    calls = media_child.usage.num_calls
    assert probe_videos(table, media_child).equals(table)
    assert media_child.usage.num_calls == calls


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path):
    path = write_video(tmp_path / "a.mp4", moving_square(5))

    class Growing:
        def call(self, op: str, **arguments: str) -> dict:
            with Path(arguments["path"]).open("ab") as file:
                file.write(b"more")
            return {"columns": {}}

    (row,) = probe_videos(expand_inputs([str(path)], CONFIG), Growing()).to_pylist()  # pyright: ignore
    assert (row["status"], row["error"]) == ("failed", "changed_while_reading")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_named_so(tmp_path, media_child):
    touch(tmp_path / "a.mp4")
    (tmp_path / "a.mp4").chmod(0)
    (row,) = probe_videos(expand_inputs([str(tmp_path)], CONFIG), media_child).to_pylist()
    assert row["error"] == "no_permission"


def test_the_identity_of_an_input_changes_with_its_bytes_and_caption(tmp_path):
    touch(tmp_path / "a.mp4")
    first = input_identity(expand_inputs([str(tmp_path)], CONFIG).to_pylist()[0])
    assert input_identity(expand_inputs([str(tmp_path)], CONFIG).to_pylist()[0]) == first
    (tmp_path / "a.mp4").write_bytes(b"xy")
    second = input_identity(expand_inputs([str(tmp_path)], CONFIG).to_pylist()[0])
    (tmp_path / "a.txt").write_text("a dog")
    third = input_identity(expand_inputs([str(tmp_path)], CONFIG).to_pylist()[0])
    assert len({json.dumps(identity) for identity in (first, second, third)}) == 3


@given(
    st.binary(min_size=1, max_size=40).filter(lambda name: not set(b"/\0") & set(name) and name not in (b".", b".."))
)
def test_every_name_has_a_uri_of_valid_text_that_leads_back(name):
    path = Path("/videos") / os.fsdecode(name)
    uri = local_uri(path)
    assert local_path(uri.encode().decode()) == path
    assert not is_remote(uri)
