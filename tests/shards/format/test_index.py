import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from shards.errors import ContractError
from shards.format.index import ROW, check_rows, index_bytes, index_table, read_index, sample_json, sample_text
from shards.format.writer import MemberRecord
from shards.schema import column

SCORE = column("motion", pa.float32(), "levels/s", "0 is a still.")


@pytest.fixture
def rows(row_of: Callable[..., dict[str, Any]], mp4: bytes) -> pa.Table:
    table = pa.Table.from_pylist([row_of("a", mp4), row_of("b", mp4)], schema=ROW)
    return table.append_column(SCORE, pa.array([0.5, None], pa.float32()))


def records(offset: int) -> dict[str, MemberRecord]:
    return {
        suffix: MemberRecord(offset + number, 10, 2**64 - 1) for number, suffix in enumerate(("json", "mp4", "txt"))
    }


def test_the_index_says_place_unit_and_meaning(rows: pa.Table):
    table = read_index(index_bytes(index_table(rows, "shards/x/1.tar", "x", [("a", records(0)), ("b", records(100))])))
    assert table.column("mp4_offset").to_pylist() == [1, 101]
    assert table.column("txt_xxh3").to_pylist() == [2**64 - 1] * 2
    assert table.column("shard").to_pylist() == ["shards/x/1.tar"] * 2
    assert table.column("motion").to_pylist() == [0.5, None]
    assert table.schema.field("motion").metadata == {b"unit": b"levels/s", b"doc": b"0 is a still."}
    assert "split" not in table.column_names


def test_the_same_rows_give_the_same_bytes(rows: pa.Table):
    tables = [index_table(rows, "s", "b", [("a", records(0)), ("b", records(9))]) for _ in range(2)]
    assert index_bytes(tables[0]) == index_bytes(tables[1])


def test_the_json_member_is_canonical_and_complete(rows: pa.Table):
    row = rows.to_pylist()[0]
    text = sample_json(row).decode()
    assert json.loads(text) == row
    assert text.startswith('{"caption":"caption of a","caption_source":"sidecar","codec":"h264",')


def test_vectors_stay_out_of_the_json_member():
    assert sample_json({"key": "a", "embedding": [0.1, 0.2], "frame_pts": [0, 1]}) == b'{"frame_pts":[0,1],"key":"a"}'


def test_no_caption_is_an_empty_text(rows: pa.Table):
    assert sample_text({"caption": None}) == b""
    assert sample_text({"caption": "Vögel"}) == "Vögel".encode()


def test_a_value_that_json_cannot_carry_is_refused():
    with pytest.raises(ContractError, match="sample a has a value that is not finite"):
        sample_json({"key": "a", "motion": float("nan")})


def test_rows_of_another_shape_are_refused(rows: pa.Table):
    with pytest.raises(ContractError, match=r"rows lack columns \['caption'\]"):
        check_rows(rows.drop_columns(["caption"]))
    place = rows.column_names.index("duration_s")
    other_type = rows.set_column(place, "duration_s", rows.column("duration_s").cast(pa.float32()))
    with pytest.raises(ContractError, match=r"rows lack columns \['duration_s'\] of the declared type"):
        check_rows(other_type)
    with pytest.raises(ContractError, match=r"rows have columns \['bucket'\]"):
        check_rows(rows.append_column("bucket", pa.array(["x", "x"])))
    with pytest.raises(ContractError, match="2 rows have 1 keys"):
        check_rows(pa.concat_tables([rows.slice(0, 1)] * 2))


def test_bytes_that_are_no_parquet_are_refused(rows: pa.Table):
    with pytest.raises(ContractError, match="no readable Parquet"):
        read_index(b"PAR1 not really")
