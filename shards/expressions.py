"""SQL-like expressions over the columns of a table, such as `luma_mean BETWEEN 24 AND 235` or `1 + 2 * motion`.

    AND OR NOT   = <> < <= > >=   BETWEEN   IN (…)   IS [NOT] NULL|TRUE|FALSE   LIKE ILIKE   + - * /
    CASE WHEN … THEN … ELSE … END   ABS SQRT COALESCE GREATEST LEAST LENGTH LOWER UPPER   numbers, 'text', TRUE, FALSE

The logic has three values, as in SQL: what is compared with null is unknown, and so are a number divided by zero
and the root of a negative one.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from shards.errors import ConfigError

pc: Any = pyarrow.compute  # its stubs refuse the plain values that the functions take

Values = Any  # a ChunkedArray, an Array or a Scalar of pyarrow: its functions take any of them


@dataclass(frozen=True)
class Expression:
    """An expression proved against a schema.

    Attributes:
        text: as written.
        columns: names of the columns it reads, in order of appearance.
        dtype: of its values.
    """

    text: str
    columns: tuple[str, ...]
    dtype: pa.DataType

    def evaluate(self, table: pa.Table) -> pa.Array:
        """Its value for each row; null where a null leaves it open."""
        return _one_array(_evaluate(_parse(self.text), table), len(table))

    def evaluate_known(self, table: pa.Table, missing: Mapping[str, np.ndarray]) -> pa.Array:
        """A condition's value where some values were never computed: null where they would decide.

        Args:
            table: rows; a column that was not computed may hold anything.
            missing: column -> bool per row, true where it was not computed.
        """
        return _one_array(_evaluate_known(_parse(self.text), table, missing), len(table))


def compile_expression(text: str, schema: pa.Schema) -> Expression:
    """An expression over columns of this schema.

    Raises:
        ConfigError: text that is no expression, an unknown column (with the nearest name), types that do not fit.
    """
    tree = _parse(text)
    columns = _columns(tree, schema)
    return Expression(text, columns, _trial(tree, columns, schema).type)


def parse_expression(text: str) -> exp.Expr:
    """The tree of an expression; it is shared, so copy it before changing it.

    Raises:
        ConfigError: text that is no expression.
    """
    return _parse(text)


def _trial(tree: exp.Expr, columns: Sequence[str], schema: pa.Schema) -> Values:
    """The expression over no row: pyarrow says whether the types fit."""
    try:
        return _evaluate(tree, schema.empty_table())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        types = ", ".join(f"{name} is {schema.field(name).type}" for name in columns)
        raise ConfigError(f"{_first_line(error)}; {types}; compare like with like") from None


@lru_cache(maxsize=256)
def _parse(expression: str) -> exp.Expr:
    try:
        trees = [tree for tree in sqlglot.parse(expression) if tree is not None]
    except SqlglotError as error:
        raise ConfigError(f"{_plain(error)}; write an expression such as luma_mean >= 24") from None
    if len(trees) != 1:
        raise ConfigError(f"it holds {len(trees)} expressions; one is allowed; join them with AND")
    return trees[0]


def _columns(tree: exp.Expr, schema: pa.Schema) -> tuple[str, ...]:
    found = sorted(tree.find_all(exp.Column), key=lambda column: column.this.meta.get("start", 0))
    for column in found:
        if column.name not in schema.names or column.table:
            near = difflib.get_close_matches(column.name, schema.names, n=1) or schema.names
            where = column.this.meta.get("start", 0) + 1
            raise ConfigError(
                f"column {column.sql()!r} at character {where} does not exist; did you mean {', '.join(near)}?"
            )
    return tuple(dict.fromkeys(column.name for column in found))


def _evaluate(node: exp.Expr, table: pa.Table) -> Values:
    """Value of an expression for every row: the tree is walked, each node by its entry in one of the tables below."""
    if isinstance(node, exp.Column):
        return table.column(node.name)
    if isinstance(node, exp.Literal):
        return pa.scalar(node.this) if node.is_string else pa.scalar(float(node.this))
    if isinstance(node, exp.Boolean):
        return pa.scalar(bool(node.this))
    if isinstance(node, exp.Is):
        return _is(_evaluate(node.this, table), node.expression)
    if isinstance(node, exp.In):
        value = _evaluate(node.this, table)
        return reduce(pc.or_kleene, [_compare(pc.equal)(value, _evaluate(item, table)) for item in _members(node)])
    if isinstance(node, exp.Case):
        return _case(node, table)
    function = _FUNCTIONS.get(type(node))
    if function is None:
        raise ConfigError(
            f"{node.sql()!r} is not known here; see the list in shards/expressions.py; write it otherwise"
        )
    return function(*[_evaluate(child, table) for child in _children(node)])


def _evaluate_known(node: exp.Expr, table: pa.Table, missing: Mapping[str, np.ndarray]) -> Values:
    """Logic joins what is known and unknown; a comparison is unknown where any column that it reads is missing."""
    if isinstance(node, exp.And | exp.Or | exp.Not | exp.Paren):
        return _FUNCTIONS[type(node)](*[_evaluate_known(child, table, missing) for child in _children(node)])
    names = {column.name for column in node.find_all(exp.Column)} & set(missing)
    value = _evaluate(node, table)
    for name in sorted(names):
        value = pc.if_else(pa.array(missing[name]), pa.scalar(None, pa.bool_()), value)
    return value


def _one_array(values: Values, num_rows: int) -> pa.Array:
    if isinstance(values, pa.Scalar):
        repeat: Any = pa.repeat  # its stubs know no plain scalar
        return repeat(values, num_rows)
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values


def _children(node: exp.Expr) -> list[exp.Expr]:
    return [child for child in node.iter_expressions() if isinstance(child, exp.Expr)]


def _members(node: exp.In) -> Sequence[exp.Expr]:
    if not node.expressions:
        raise ConfigError(f"{node.sql()!r} has no list; IN ('a', 'b') is allowed; list the values")
    return node.expressions


def _is(value: Values, what: exp.Expr) -> Values:
    if isinstance(what, exp.Null):
        return pc.is_null(value)
    if isinstance(what, exp.Boolean):
        return pc.fill_null(pc.equal(value, pa.scalar(bool(what.this))), False)
    raise ConfigError(f"IS {what.sql()} is not known here; IS NULL, IS TRUE, IS FALSE are allowed; use =")


def _case(node: exp.Case, table: pa.Table) -> Values:
    if node.this is not None:
        raise ConfigError(f"{node.sql()!r} compares a value; CASE WHEN … THEN … is allowed; write the conditions out")
    default = node.args.get("default")
    value = pa.scalar(None, pa.null()) if default is None else _evaluate(default, table)
    for branch in reversed(node.args["ifs"]):
        applies = pc.fill_null(_evaluate(branch.this, table), False)
        value = pc.if_else(applies, _evaluate(branch.args["true"], table), value)
    return value


def _compare(function: Callable[[Values, Values], Values]) -> Callable[[Values, Values], Values]:
    def compare(left: Values, right: Values) -> Values:
        return function(_narrowed(left, right), _narrowed(right, left))

    return compare


def _narrowed(value: Values, other: Values) -> Values:
    """A written number, rounded as the column is: else 0.3 in float32 would exceed the written 0.3."""
    if isinstance(value, pa.Scalar) and pa.types.is_float32(other.type) and pa.types.is_floating(value.type):
        return value.cast(pa.float32())
    return value


def _arithmetic(function: Callable[[Values, Values], Values]) -> Callable[[Values, Values], Values]:
    def compute(left: Values, right: Values) -> Values:
        return function(_number(left), _number(right))

    return compute


def _number(value: Values) -> Values:
    """As float64: exact up to 2**53, and nothing overflows."""
    if not (pa.types.is_integer(value.type) or pa.types.is_floating(value.type)):
        raise ConfigError(f"{value.type} takes part in arithmetic; numbers are allowed; compare it instead")
    return value.cast(pa.float64())


def _divide(left: Values, right: Values) -> Values:
    return pc.divide(left, pc.if_else(pc.equal(right, 0.0), pa.scalar(None, pa.float64()), right))


def _root(value: Values) -> Values:
    number = _number(value)
    return pc.sqrt(pc.if_else(pc.less(number, 0.0), pa.scalar(None, pa.float64()), number))


def _between(value: Values, low: Values, high: Values) -> Values:
    return pc.and_kleene(_compare(pc.greater_equal)(value, low), _compare(pc.less_equal)(value, high))


def _like(value: Values, pattern: Values, ignore_case: bool) -> Values:
    if not isinstance(pattern, pa.StringScalar):
        raise ConfigError("LIKE has a pattern that is no text; a 'text' pattern is allowed; write LIKE '%word%'")
    return pc.match_like(value, pattern.as_py(), ignore_case=ignore_case)


def _extreme(function: Callable[..., Values]) -> Callable[..., Values]:
    return lambda *values: function(*map(_number, values), skip_nulls=False)


_FUNCTIONS: dict[type[exp.Expr], Callable[..., Values]] = {
    exp.Paren: lambda value: value,
    exp.And: pc.and_kleene,
    exp.Or: pc.or_kleene,
    exp.Not: pc.invert,
    exp.EQ: _compare(pc.equal),
    exp.NEQ: _compare(pc.not_equal),
    exp.LT: _compare(pc.less),
    exp.LTE: _compare(pc.less_equal),
    exp.GT: _compare(pc.greater),
    exp.GTE: _compare(pc.greater_equal),
    exp.Between: _between,
    exp.Add: _arithmetic(pc.add),
    exp.Sub: _arithmetic(pc.subtract),
    exp.Mul: _arithmetic(pc.multiply),
    exp.Div: _arithmetic(_divide),
    exp.Neg: lambda value: pc.negate(_number(value)),
    exp.Abs: lambda value: pc.abs(_number(value)),
    exp.Sqrt: _root,
    exp.Coalesce: pc.coalesce,
    exp.Greatest: _extreme(pc.max_element_wise),
    exp.Least: _extreme(pc.min_element_wise),
    exp.Length: pc.utf8_length,
    exp.Lower: pc.utf8_lower,
    exp.Upper: pc.utf8_upper,
    exp.Like: lambda value, pattern: _like(value, pattern, ignore_case=False),
    exp.ILike: lambda value, pattern: _like(value, pattern, ignore_case=True),
}


def _plain(error: Exception) -> str:
    """First line of a parser's message, without the terminal's underline."""
    return _first_line(error).replace("\x1b[4m", "").replace("\x1b[0m", "")


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".")
