from typing import Any

import pyarrow as pa
import pytest

from shards.errors import ConfigError
from shards.expressions import compile_expression

TABLE = pa.table({"motion": pa.array([0.0, 4.0, -9.0, None], pa.float32()), "split": ["train", "val", "train", None]})


def values(text: str, table: pa.Table = TABLE) -> list[Any]:
    return compile_expression(text, table.schema).evaluate(table).to_pylist()


def test_numbers_are_computed_as_sql_does():
    assert values("1 + 2 * motion") == [1.0, 9.0, -17.0, None]
    assert values("SQRT(motion)") == [0.0, 2.0, None, None]
    assert values("COALESCE(motion, 1)") == [0.0, 4.0, -9.0, 1.0]


def test_a_number_alone_holds_for_every_row():
    assert values("3") == [3.0, 3.0, 3.0, 3.0]


def test_the_first_case_that_applies_decides_and_an_unknown_condition_does_not_apply():
    assert values("CASE WHEN motion > 3 THEN 1 WHEN split = 'train' THEN 2 ELSE 3 END") == [2.0, 1.0, 2.0, 3.0]
    assert values("CASE WHEN motion > 3 THEN 1 END") == [None, 1.0, None, None]


def test_an_expression_knows_its_type_and_columns():
    found = compile_expression("motion > 1 AND split = 'val'", TABLE.schema)
    assert (found.columns, found.dtype) == (("motion", "split"), pa.bool_())
    assert compile_expression("motion * 2", TABLE.schema).dtype == pa.float64()


def test_branches_of_different_kinds_are_refused():
    with pytest.raises(ConfigError, match="compare like with like"):
        compile_expression("CASE WHEN motion > 1 THEN 1 ELSE 'one' END", TABLE.schema)


def test_an_unknown_column_is_named_with_the_nearest():
    with pytest.raises(ConfigError, match=r"'motoin' at character 5 does not exist; did you mean motion\?"):
        compile_expression("1 + motoin", TABLE.schema)
