"""The numbers in a rule: which quantity is compared with which number, and the same rule with another number."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pyarrow as pa
from sqlglot import exp

from curate.decision.rules import Rule, evaluate_value
from shards.expressions import parse_expression

_OPERATORS: dict[type[exp.Expr], tuple[str, str]] = {  # as written, and with its sides changed over
    exp.GT: (">", "<"),
    exp.GTE: (">=", "<="),
    exp.LT: ("<", ">"),
    exp.LTE: ("<=", ">="),
    exp.EQ: ("=", "="),
    exp.NEQ: ("<>", "<>"),
}
_OPPOSITE = {">": "<=", "<=": ">", "<": ">=", ">=": "<", "=": "<>", "<>": "="}


@dataclass(frozen=True)
class Threshold:
    """One comparison of a rule with a number, read as `quantity operator value`.

    Attributes:
        rule: name of the rule.
        quantity: what is compared, as SQL: a column or an expression of columns.
        columns: that it reads.
        operator: one of > >= < <= = <>, the opposite of what stands below a NOT; BETWEEN is two thresholds.
        value: the number.
        place: which comparison of the rule it is, in order of appearance.
    """

    rule: str
    quantity: str
    columns: tuple[str, ...]
    operator: str
    value: float
    place: int

    def values(self, table: pa.Table) -> pa.Array:
        """The quantity for every row, float64; null where a column is."""
        return evaluate_value(self.quantity, table).cast(pa.float64())

    def holds(self, table: pa.Table) -> pa.Array:
        """For each row whether this comparison alone is true; null where the quantity is."""
        return evaluate_value(f"{self.quantity} {self.operator} {self.value!r}", table)

    def describe(self) -> str:
        """As SQL, for people."""
        return f"{self.quantity} {self.operator} {self.value:g}"


def thresholds(rule: Rule) -> list[Threshold]:
    """Every comparison of a quantity with a number, in order of appearance; [] if the rule has none."""
    found = enumerate(_comparisons(parse_expression(rule.expression)))
    return [
        Threshold(rule.name, quantity.sql(), _columns(quantity), operator, _number(number) or 0.0, place)
        for place, (quantity, operator, number) in found
    ]


def with_value(rule: Rule, threshold: Threshold, value: float) -> Rule:
    """The rule with another number in the place of a threshold's."""
    tree = parse_expression(rule.expression).copy()
    number = list(_comparisons(tree))[threshold.place][2]
    number.replace(_literal(value) if value >= 0 else exp.Neg(this=_literal(-value)))
    return replace(rule, expression=tree.sql())


def _literal(value: float) -> exp.Expr:
    return exp.Literal.number(repr(float(value)))


def _comparisons(tree: exp.Expr) -> Iterator[tuple[exp.Expr, str, exp.Expr]]:
    """Quantity, operator and number of each comparison."""
    for node in tree.find_all(*_OPERATORS, exp.Between, bfs=False):
        if isinstance(node, exp.Between):
            pairs = [(node.this, ">=", node.args["low"]), (node.this, "<=", node.args["high"])]
        else:
            plain, turned = _OPERATORS[type(node)]
            pairs = [(node.this, plain, node.expression), (node.expression, turned, node.this)]
        for quantity, operator, number in pairs:
            if _columns(quantity) and _number(number) is not None:
                yield quantity, _OPPOSITE[operator] if _is_negated(node) else operator, number


def _is_negated(node: exp.Expr) -> bool:
    above = node.parent
    return above is not None and _is_negated(above) != isinstance(above, exp.Not)


def _columns(node: exp.Expr) -> tuple[str, ...]:
    return tuple(dict.fromkeys(column.name for column in node.find_all(exp.Column, bfs=False)))


def _number(node: exp.Expr) -> float | None:
    if isinstance(node, exp.Paren):
        return _number(node.this)
    if isinstance(node, exp.Neg):
        value = _number(node.this)
        return None if value is None else -value
    return float(node.this) if isinstance(node, exp.Literal) and not node.is_string else None
