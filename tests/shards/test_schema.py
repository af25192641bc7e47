import pyarrow as pa
import pytest

from shards.errors import ContractError
from shards.schema import CLIP, DECISION, SAMPLE, VIDEO, from_rows, integers, strings


@pytest.mark.parametrize("schema", [VIDEO, CLIP, DECISION, SAMPLE])
def test_every_column_says_what_it_means(schema: pa.Schema):
    assert all((field.metadata or {})[b"doc"].decode().endswith(".") for field in schema)


def test_rows_may_leave_columns_out_but_not_invent_them():
    table = from_rows([{"clip_id": "a"}], CLIP)
    assert table["end_pts"].to_pylist() == [None]
    with pytest.raises(ContractError, match="clip_ids"):
        from_rows([{"clip_ids": "a"}], CLIP)


def test_a_value_of_another_type_is_refused():
    with pytest.raises(ContractError, match="does not fit its schema"):
        from_rows([{"start_pts": "now"}], CLIP)


def test_accessors_refuse_nulls():
    table = from_rows([{"clip_id": "a", "start_pts": 3}, {"clip_id": "b"}], CLIP)
    assert strings(table, "clip_id") == ["a", "b"]
    with pytest.raises(ContractError, match="start_pts has 1 nulls"):
        integers(table, "start_pts")
