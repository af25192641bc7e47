from pathlib import Path

from shards.importing.run import ImportConfig
from shards.importing.views import importation
from tests.shards.importing.conftest import MakeTar, sample


def test_an_import_says_what_it_did_with_every_clip(tmp_path: Path, make_tar: MakeTar, clips: list[bytes]):
    tar = make_tar("a.tar", sample("one", clips[0], "a cat", note="text") | sample("bad", b"nothing", ""))
    listing = importation(tar, tmp_path / "out", ImportConfig(kind="webdataset"), num_workers=1)
    assert listing.title == f"version 1 of {tmp_path / 'out'}"
    assert [row[:2] for row in listing.rows] == [
        ["clips in the version", "1"],
        ["tars adopted as they are", "0"],
        ["tars written anew", "1"],
        ["", "a.tar"],
        ["clips not imported", "1"],
        ["  not_mp4", "1"],
        ["", ""],
        ["values that are no columns", "1"],
    ]
    assert listing.rows[3][2] == "1 of its 2 clips cannot be decoded"
