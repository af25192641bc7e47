"""Rules: named boolean expressions over columns, such as `luma_mean BETWEEN 24 AND 235`; see shards/expressions.py."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from shards.errors import ConfigError
from shards.expressions import Expression, compile_expression


@dataclass(frozen=True)
class Rule:
    """A rule that a row must pass.

    Attributes:
        name: what decisions and reports call it.
        expression: SQL-like text.
        columns: names of the columns it reads, in order of appearance.
    """

    name: str
    expression: str
    columns: tuple[str, ...]

    def evaluate(self, table: pa.Table) -> pa.Array:
        """For each row true, false, or null if a null leaves it open."""
        return self._compiled.evaluate(table)

    def evaluate_scored(self, table: pa.Table, missing: Mapping[str, np.ndarray]) -> pa.Array:
        """As `evaluate`, where some scores were never computed: what they would decide is unknown.

        So `caption IS NULL` is true of a clip without a caption and unknown of one that no captioner saw.

        Args:
            table: rows; a column that was not computed may hold anything.
            missing: column -> bool per row, true where it was not computed.
        """
        return self._compiled.evaluate_known(table, missing)

    @property
    def _compiled(self) -> Expression:
        return Expression(self.expression, self.columns, pa.bool_())


def compile_rules(keep: Mapping[str, str], schema: pa.Schema) -> list[Rule]:
    """Rules in their order, each proved against the columns it reads.

    Raises:
        ConfigError: text that is no expression, an unknown column (with the nearest name), types that do not fit.
    """
    return [_compile(name, expression, schema) for name, expression in keep.items()]


def evaluate_value(expression: str, table: pa.Table) -> pa.Array:
    """An expression of any type for every row, such as the left side of a comparison."""
    return compile_expression(expression, table.schema).evaluate(table)


def _compile(name: str, expression: str, schema: pa.Schema) -> Rule:
    place = f"keep.{name} is {expression!r}"
    try:
        found = compile_expression(expression, schema)
    except ConfigError as error:
        raise ConfigError(f"{place}; {error}") from None
    if not found.columns or not pa.types.is_boolean(found.dtype):
        what = f"gives {found.dtype}" if found.columns else "reads no column"
        raise ConfigError(f"{place}, which {what}; true or false from columns is allowed; compare with something")
    return Rule(name, expression, found.columns)
