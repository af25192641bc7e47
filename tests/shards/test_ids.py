import hashlib
from pathlib import Path

import pytest

from shards import ids


def test_same_bytes_give_the_same_video_id(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"frames")
    (tmp_path / "b").write_bytes(b"frames")
    first, second = (ids.video_id(ids.file_sha256(tmp_path / name)) for name in "ab")
    assert first == second == hashlib.sha256(b"frames").hexdigest()[:16]


def test_clip_ids_differ_by_span_and_stream():
    spans = [("v", 0, 0, 10), ("v", 0, 0, 11), ("v", 0, 1, 10), ("v", 1, 0, 10), ("w", 0, 0, 10)]
    assert len({ids.clip_id(*span) for span in spans}) == len(spans)


def test_a_digest_does_not_depend_on_the_order_of_keys():
    assert ids.digest({"a": 1, "b": [2.5, None]}) == ids.digest({"b": [2.5, None], "a": 1})


def test_a_digest_refuses_what_json_cannot_say():
    with pytest.raises(ValueError, match="not JSON compliant"):
        ids.digest(float("nan"))


def test_a_folders_hash_sees_names_and_bytes(tmp_path: Path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights").write_bytes(b"1")
    before = ids.folder_sha256(folder)
    (folder / "weights").rename(folder / "other")
    assert ids.folder_sha256(folder) != before
