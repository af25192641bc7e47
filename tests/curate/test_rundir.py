from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.rundir import RunDir, write_json, write_table
from shards.errors import ConfigError


def test_a_write_that_fails_leaves_neither_the_file_nor_a_part_of_it(tmp_path: Path):
    with pytest.raises(TypeError):
        write_json(tmp_path / "metrics.json", {"a": object()})
    assert list(tmp_path.iterdir()) == []


def test_a_write_replaces_the_whole_file(tmp_path: Path):
    path = RunDir(tmp_path).part("clips", "000000-abc")
    for value in (1, 2):
        write_table(path, pa.table({"a": [value]}))
    assert pq.read_table(path)["a"].to_pylist() == [2]
    assert [item.name for item in path.parent.iterdir()] == ["000000-abc.parquet"]


def test_scratch_is_gone_after_use_and_what_a_killed_run_left_is_cleared(tmp_path: Path):
    run_dir = RunDir(tmp_path)
    with run_dir.scratch() as folder:
        (folder / "frames").write_bytes(b"1")
    assert not folder.exists()
    (tmp_path / "scratch" / "left").mkdir(parents=True)
    (tmp_path / "parts" / "clips").mkdir(parents=True)
    (tmp_path / "parts" / "clips" / ".half.parquet").touch()
    with run_dir.locked():
        assert not (tmp_path / "scratch").exists()
        assert list((tmp_path / "parts" / "clips").iterdir()) == []


def test_a_folder_without_a_catalog_is_no_run(tmp_path: Path):
    with pytest.raises(ConfigError, match="holds no catalog"):
        RunDir(tmp_path).require_run()
