import pickle

import numpy as np
import pyarrow as pa
import pytest

from curate.decision.rules import compile_rules
from shards.errors import ConfigError

TABLE = pa.table(
    {
        "flow_mag": pa.array([0.0, 0.3, 2.0, None], pa.float32()),
        "width": pa.array([640, 1920, 70000, None], pa.int32()),
        "height": pa.array([360, 1080, 70000, 100], pa.int32()),
        "caption": ["a red disc", "", "A Red Square", None],
        "is_duplicate": [True, False, False, None],
        "frame_pts": pa.array([[1], [2], [3], None], pa.list_(pa.int64())),
    }
)


def answers(expression: str) -> list[bool | None]:
    (rule,) = compile_rules({"rule": expression}, TABLE.schema)
    return rule.evaluate(TABLE).to_pylist()


def refusal(expression: str) -> str:
    with pytest.raises(ConfigError) as caught:
        compile_rules({"my_rule": expression}, TABLE.schema)
    return str(caught.value)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("flow_mag >= 0.3", [False, True, True, None]),
        ("flow_mag BETWEEN 0.1 AND 1", [False, True, False, None]),
        ("NOT is_duplicate", [False, True, True, None]),
        ("is_duplicate IS NOT TRUE", [False, True, True, True]),
        ("is_duplicate = FALSE", [False, True, True, None]),
        ("caption IS NOT NULL", [True, True, True, False]),
        ("caption IN ('a red disc', 'x')", [True, False, False, None]),
        ("caption NOT IN ('a red disc')", [False, True, True, None]),
        ("LENGTH(caption) > 0", [True, False, True, None]),
        ("LENGTH(COALESCE(caption, '')) > 0", [True, False, True, False]),
        ("caption LIKE '%red%'", [True, False, False, None]),
        ("caption ILIKE '%red%'", [True, False, True, None]),
        ("LOWER(caption) = 'a red square'", [False, False, True, None]),
        ("width / height > 1.5", [True, True, False, None]),
        ("(width + height) * 2 <> 2000", [False, True, True, None]),
        ("ABS(width - height) < 300", [True, False, True, None]),
        ("GREATEST(width, height) <= 1920 OR flow_mag > 1", [True, True, True, None]),
        ("LEAST(width, -height) < 0", [True, True, True, None]),
    ],
)
def test_an_expression_gives_what_sql_gives(expression, expected):
    assert answers(expression) == expected


def test_an_unknown_operand_leaves_open_only_what_depends_on_it():
    assert answers("flow_mag > 1 AND is_duplicate")[3] is None
    assert answers("flow_mag > 1 AND height > 1000")[3] is False
    assert answers("flow_mag > 1 OR height = 100")[3] is True


def test_a_division_by_zero_is_unknown():
    assert answers("1 / flow_mag > 0") == [None, True, True, None]


def test_a_product_of_32_bit_columns_does_not_overflow():
    assert answers("width * height > 4000000000") == [False, False, True, None]


def test_a_float32_column_equals_the_number_that_was_written():
    assert answers("flow_mag <= 0.3") == [True, True, False, None]
    assert answers("flow_mag = 0.3") == [False, True, False, None]
    assert answers("flow_mag IN (0.3)") == [False, True, False, None]


def test_a_rule_knows_its_columns_in_order_of_appearance():
    (rule,) = compile_rules({"r": "height > 2 AND flow_mag + height > 3 AND NOT is_duplicate"}, TABLE.schema)
    assert rule.columns == ("height", "flow_mag", "is_duplicate")
    assert (rule.name, rule.expression) == ("r", "height > 2 AND flow_mag + height > 3 AND NOT is_duplicate")


def test_rules_keep_the_order_of_the_configuration():
    rules = compile_rules({"z": "width > 1", "a": "height > 1"}, TABLE.schema)
    assert [rule.name for rule in rules] == ["z", "a"]


def test_an_unknown_column_is_refused_with_place_and_nearest_name():
    message = refusal("width > 3 AND flow_mga > 1")
    assert "keep.my_rule" in message
    assert "'flow_mga' at character 15" in message
    assert "did you mean flow_mag?" in message


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("flow_mag > 'fast'", "compare like with like"),
        ("caption > 3", "compare like with like"),
        ("width AND height", "compare like with like"),
        ("caption + 1 > 2", "string takes part in arithmetic"),
        ("is_duplicate + 1 > 2", "bool takes part in arithmetic"),
        ("frame_pts > 1", "compare like with like"),
        ("caption LIKE caption", "a 'text' pattern is allowed"),
        ("width + height", "gives double"),
        ("1 = 1", "reads no column"),
        ("width >", "write an expression"),
        ("", "0 expressions"),
        ("width > 1; height > 1", "one is allowed"),
        ("SELECT width FROM t", "is not known here"),
        ("LOG(width) > 1", "is not known here"),
        ("EVIL(width) > 1", "is not known here"),
        ("t.width > 1", "does not exist"),
        ("width IN (SELECT height FROM t)", "has no list"),
        ("width > NULL", "is not known here"),
        ("width IS 3", "IS NULL, IS TRUE, IS FALSE"),
        ("CASE width WHEN 1 THEN TRUE END", "write the conditions out"),
    ],
)
def test_what_is_no_rule_is_refused_before_anything_runs(expression, reason):
    message = refusal(expression)
    assert "keep.my_rule" in message
    assert reason in message


def test_a_rule_travels_to_another_process():
    rules = compile_rules({"motion": "flow_mag > 1"}, TABLE.schema)
    assert pickle.loads(pickle.dumps(rules))[0].evaluate(TABLE).to_pylist() == [False, False, True, None]


def test_a_rule_over_a_table_in_chunks_gives_one_array():
    (rule,) = compile_rules({"motion": "flow_mag > 1"}, TABLE.schema)
    assert len(rule.evaluate(pa.concat_tables([TABLE, TABLE]))) == 8


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("caption IS NULL", [None, False, False, True]),
        ("caption IS NOT NULL", [None, True, True, False]),
        ("COALESCE(caption, 'x') = 'x'", [None, False, False, True]),
        ("caption IS NULL OR width = 640", [True, False, False, True]),
        ("caption IS NULL AND width = 641", [False, False, False, None]),
        ("NOT (caption = 'a red disc')", [None, True, True, None]),
        ("flow_mag >= 0.3", [False, True, True, None]),
    ],
)
def test_a_score_that_was_never_computed_is_unknown_even_to_is_null(expression: str, expected: list[bool | None]):
    """The first row's caption was never computed, whatever stands in the table."""
    (rule,) = compile_rules({"rule": expression}, TABLE.schema)
    assert rule.evaluate_scored(TABLE, {"caption": np.array([True, False, False, False])}).to_pylist() == expected
