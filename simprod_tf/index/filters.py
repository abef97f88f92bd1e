"""Which products satisfy a condition on their attributes: SQL, answered by DuckDB.

A condition is one boolean expression over the columns, as it stands after WHERE:
`category = 'mugs' AND price BETWEEN 5 AND 20 AND locale IN ('de', 'at')`. It may come
from a stranger (a request to a server): DuckDB parses it first, and only columns,
constants, comparisons, casts, CASE and a list of functions pass. Nothing that reads
other tables, files or settings does, nor what answers differently next time.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from simprod_tf.engine.embedded import Embedded, QueryError, sql_name, sql_text
from simprod_tf.errors import SimprodError

if TYPE_CHECKING:
    from types import TracebackType

_TABLE = "products"
# No attribute has such a name.
_ROW = "row in the index"
# 64 MB of int64.
_CACHED_ROWS = 8_000_000
_CACHED_RESULTS = 256

_NODES = frozenset(
    "BETWEEN CASE CAST COLLATE COLUMN_REF COMPARISON CONJUNCTION CONSTANT FUNCTION "
    "OPERATOR TYPE".split()
)
# Operators, LIKE (~~) among them, and functions that depend on their arguments alone
# and whose results stay small.
_OPERATORS = frozenset("+ - * / // % || ~~ !~~ ~~* !~~* ~~~ ^@ like_escape".split())
_FUNCTIONS = frozenset(
    "abs ceil contains date_part ends_with floor ilike_escape length lower ltrim "
    "not_ilike_escape not_like_escape nullif regexp_full_match regexp_matches round "
    "rtrim starts_with substring trim upper".split()
)
# What a SELECT may have besides its one expression; a condition has none of it.
_CLAUSES = tuple(
    "modifiers where_clause group_expressions having sample qualify".split()
)


class AttributeFilter:
    """The attributes of an index's products, ready for many conditions.

    Threads may share one. Use it in a `with` statement, or close it.
    """

    def __init__(self, attributes: pa.Table, *, cached_rows: int = _CACHED_ROWS):
        """Copies the attributes into a database of its own.

        Args:
            attributes: one line a product, in row order; columns of lists are left
                out. NaN in a column of floats counts as missing.
            cached_rows: how many rows of latest results are kept, 8 bytes each.

        Raises:
            SimprodError: two columns have the same name but for case.
        """
        flat = [one for one in attributes.schema if not pa.types.is_nested(one.type)]
        columns = {one.name: _nan_as_null(attributes[one.name]) for one in flat}
        self._columns = {one.name: _plain_type(one.type) for one in flat}
        _require_distinct([*columns, _ROW])
        self._cached_rows = cached_rows
        self._results: OrderedDict[str, np.ndarray] = OrderedDict()
        self._lock = threading.Lock()
        self._engine = Embedded()
        rows = pa.array(np.arange(attributes.num_rows))
        self._engine.load(_TABLE, pa.table({**columns, _ROW: rows}))
        # Should a condition slip through the check below: it still reads no file.
        self._engine.run("SET enable_external_access = false")
        self._engine.run("SET lock_configuration = true")

    @property
    def columns(self) -> tuple[str, ...]:
        """The names that a condition may use."""
        return tuple(self._columns)

    def rows(self, where: str) -> np.ndarray:
        """Returns the rising rows that satisfy a condition, [R] int64, read-only.

        Where the condition is unknown (NULL), the product does not satisfy it.

        Raises:
            QueryError: the condition is no boolean expression over the columns.
        """
        with self._lock:
            if where in self._results:
                self._results.move_to_end(where)
                return self._results[where]
            rows = self._asked(where)
            rows.flags.writeable = False
            self._results[where] = rows
            while self._is_cache_full():
                self._results.popitem(last=False)
        return rows

    def close(self) -> None:
        """Forgets the attributes; twice does no harm."""
        self._engine.close()

    def __enter__(self) -> AttributeFilter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _is_cache_full(self) -> bool:
        num_rows = sum(map(len, self._results.values()))
        return num_rows > self._cached_rows or len(self._results) > _CACHED_RESULTS

    def _asked(self, where: str) -> np.ndarray:
        expression = self._parsed(where)
        for node in _nodes(expression):
            self._require_allowed(node, where)
        # The line break ends a comment.
        condition = f"({where}\n)"
        source = f"FROM {sql_name(_TABLE)}"
        shape = self._answer(f"SELECT {condition} AS a {source} LIMIT 0", where)
        if shape.schema.field("a").type != pa.bool_():
            raise self._refused(where, "it is a value, neither true nor false")
        found = self._answer(
            f"SELECT {sql_name(_ROW)} {source} WHERE {condition}", where
        )
        return np.sort(found.column(0).to_numpy())

    def _answer(self, sql: str, where: str) -> pa.Table:
        try:
            return self._engine.query(sql)
        except QueryError as error:
            raise self._refused(where, str(error).splitlines()[0]) from error

    def _parsed(self, where: str) -> dict[str, Any]:
        """Returns DuckDB's parse of the condition, if it is one expression."""
        # DuckDB 1.4 parses no further than to a NUL.
        if not where.strip() or "\0" in where:
            raise self._refused(where, "it is empty or holds a NUL character")
        text = sql_text("SELECT " + where)
        answer = self._engine.query(f"SELECT json_serialize_sql({text})")
        try:
            parsed = json.loads(answer.column(0)[0].as_py())
        except RecursionError:
            raise self._refused(where, "it is nested too deeply") from None
        # "Not implemented": a statement other than SELECT stands behind a semicolon.
        if parsed["error"] and parsed["error_type"] != "not implemented":
            raise self._refused(where, parsed["error_message"])
        nodes = [one["node"] for one in parsed.get("statements", [])]
        if len(nodes) != 1 or not _is_bare(nodes[0]):
            raise self._refused(where, "it is more than one expression")
        return nodes[0]["select_list"][0]

    def _require_allowed(self, node: dict[str, Any], where: str) -> None:
        kind = node["class"]
        if kind not in _NODES:
            name = kind.lower().replace("_", " ")
            raise self._refused(where, f"a condition holds no {name}")
        if kind == "COLUMN_REF":
            name = ".".join(node["column_names"])
            known = {one.lower() for one in self._columns}
            if len(node["column_names"]) > 1 or name.lower() not in known:
                raise self._refused(where, f"there is no column {name!r}")
        elif kind == "FUNCTION":
            name = node["function_name"].lower()
            if name not in _FUNCTIONS | _OPERATORS:
                known_functions = ", ".join(sorted(_FUNCTIONS))
                raise self._refused(
                    where,
                    f"there is no function {name!r} for conditions, but: "
                    f"{known_functions}",
                )

    def _refused(self, where: str, reason: str) -> QueryError:
        columns = ", ".join(f"{name} ({kind})" for name, kind in self._columns.items())
        shown, why = (text[:300] for text in (where, reason.rstrip(".")))
        return QueryError(
            f"The condition {shown!r} cannot be used: {why}. Give one such as "
            f"\"category = 'mugs' AND price < 20\"; the columns are: "
            f"{columns or 'none'}."
        )


def rows_where(attributes: pa.Table, where: str) -> np.ndarray:
    """Returns the rising rows that satisfy a condition, [R] int64; for one alone.

    Args:
        attributes: one line a product, in row order.
        where: a condition such as `price < 20`; see `AttributeFilter`.

    Raises:
        QueryError: the condition is no boolean expression over the columns.
    """
    with AttributeFilter(attributes) as one:
        return one.rows(where)


def _nodes(parsed: Any) -> Iterator[dict[str, Any]]:
    """Yields the expression and all within it."""
    left = [parsed]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            if "class" in one:
                yield one
            left.extend(one.values())
        elif isinstance(one, list):
            left.extend(one)


def _is_bare(node: dict[str, Any]) -> bool:
    """Whether a parsed SELECT is nothing but one expression without a name."""
    return (
        node["type"] == "SELECT_NODE"
        and len(node["select_list"]) == 1
        and not node["select_list"][0]["alias"]
        and node["from_table"]["type"] == "EMPTY"
        and not node["cte_map"]["map"]
        and not any(node[clause] for clause in _CLAUSES)
    )


def _nan_as_null(column: pa.ChunkedArray) -> pa.ChunkedArray:
    # DuckDB takes NaN for the greatest number: `price > 5` would hold.
    if not pa.types.is_floating(column.type):
        return column
    missing = pa.scalar(None, column.type)
    return pc.if_else(pc.is_nan(column), missing, column)


def _plain_type(type_: pa.DataType) -> str:
    if pa.types.is_floating(type_) or pa.types.is_integer(type_):
        return "number"
    return "text" if _is_text(type_) else str(type_)


def _is_text(type_: pa.DataType) -> bool:
    value = type_.value_type if pa.types.is_dictionary(type_) else type_
    return pa.types.is_string(value) or pa.types.is_large_string(value)


def _require_distinct(names: list[str]) -> None:
    seen: dict[str, str] = {}
    for name in names:
        if name.lower() in seen:
            raise SimprodError(
                f"The attributes {seen[name.lower()]!r} and {name!r} have one name to "
                "a condition, which knows no case; rename one."
            )
        seen[name.lower()] = name
