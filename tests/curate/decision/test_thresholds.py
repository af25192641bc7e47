import pyarrow as pa
import pytest

from curate.decision.rules import Rule, compile_rules
from curate.decision.thresholds import thresholds, with_value

TABLE = pa.table({"flow": pa.array([0.5, 2.0, None], pa.float32()), "width": [4, 6, 8], "height": [2, 3, 4]})


def rule(expression: str) -> Rule:
    return compile_rules({"rule": expression}, TABLE.schema)[0]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("flow >= 0.5", ["flow >= 0.5"]),
        ("0.5 < flow", ["flow > 0.5"]),
        ("flow BETWEEN -1 AND 2", ["flow >= -1", "flow <= 2"]),
        ("NOT (flow < (3)) OR width <> 4", ["flow >= 3", "width <> 4"]),
        ("flow NOT BETWEEN 1 AND 2", ["flow < 1", "flow > 2"]),
        ("NOT (width = 4 OR NOT 2 < flow)", ["width <> 4", "flow > 2"]),
        ("width * height >= 10 AND flow = 1", ["width * height >= 10", "flow = 1"]),
        ("width >= height AND flow IS NULL", []),
    ],
)
def test_every_comparison_of_a_quantity_with_a_number_is_a_threshold(expression: str, expected: list[str]):
    assert [item.describe() for item in thresholds(rule(expression))] == expected


def test_a_quantity_has_a_value_for_every_row():
    (item,) = thresholds(rule("width * height >= 10"))
    assert item.columns == ("width", "height")
    assert item.values(TABLE).to_pylist() == [8.0, 18.0, 32.0]


def test_another_number_stands_where_the_old_one_stood_and_nowhere_else():
    own = rule("flow BETWEEN 0 AND 2 AND width >= 2")
    moved = [with_value(own, item, value) for item, value in zip(thresholds(own), (-0.25, 1e-7, 7), strict=True)]
    numbers = [[item.value for item in thresholds(one)] for one in moved]
    assert numbers == [[-0.25, 2, 2], [0, 1e-7, 2], [0, 2, 7]]
    assert own.evaluate(TABLE).to_pylist() == [True, True, None]
    assert moved[2].evaluate(TABLE).to_pylist() == [False, False, None]
