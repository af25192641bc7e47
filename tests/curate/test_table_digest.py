import pyarrow as pa
import pytest

from curate.table_digest import table_digest

ROWS = [
    {"n": 1, "x": 0.5, "ok": True, "text": "ab", "list": [1.0, 2.0], "pair": [3.0, 4.0]},
    {"n": None, "x": None, "ok": None, "text": None, "list": None, "pair": None},
    {"n": 3, "x": -0.0, "ok": False, "text": "", "list": [], "pair": [5.0, 6.0]},
]
SCHEMA = pa.schema(
    [
        ("n", pa.int64()),
        ("x", pa.float32()),
        ("ok", pa.bool_()),
        ("text", pa.string()),
        ("list", pa.list_(pa.float64())),
        ("pair", pa.list_(pa.float32(), 2)),
    ]
)


def table(rows: list[dict]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def test_chunks_and_slices_do_not_count():
    whole = table([ROWS[2], *ROWS, ROWS[0]]).slice(1, 3)
    chunks = pa.concat_tables([table(ROWS[:1]), table(ROWS[1:])])
    assert table_digest(whole) == table_digest(chunks) == table_digest(table(ROWS))


@pytest.mark.parametrize("name", SCHEMA.names)
def test_any_other_value_counts_and_null_is_not_zero_or_empty(name: str):
    seen = {table_digest(table([*ROWS[:2], ROWS[2] | {name: value}])) for value in (ROWS[0][name], ROWS[2][name], None)}
    assert len(seen) == 3


def test_texts_and_lists_cannot_run_into_each_other():
    first = table([ROWS[0] | {"text": "ab", "list": [1.0]}, ROWS[2] | {"text": "c", "list": [2.0]}])
    second = table([ROWS[0] | {"text": "a", "list": []}, ROWS[2] | {"text": "bc", "list": [1.0, 2.0]}])
    assert table_digest(first) != table_digest(second)


def test_rows_in_another_order_are_another_table():
    assert table_digest(table(ROWS)) != table_digest(table(ROWS[::-1]))
