"""A catalogue's further columns, typed: what conditions on products are asked of."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from simprod_tf.data.catalog import Catalog

# As a float these would lose what tells them apart: a leading zero, or the last digits.
_CODE = r"^[+-]?(0[0-9]|[0-9]{16})"


def attributes_of(catalog: Catalog, columns: Sequence[str] | None = None) -> pa.Table:
    """Returns attributes of the products, one line each in the catalogue's order.

    CSV knows text alone. A column of text becomes float64 where every value in it is a
    finite number and none looks like a code (`0123`, or 16 digits and more); "" is
    null. Columns that have a type of their own (from Parquet) keep it.

    Args:
        catalog: The products.
        columns: `group` and names of attributes; by default all attributes that are
            no lists.

    Raises:
        ValueError: there is no such column (those there are are named), or it holds
            lists.
    """
    table = catalog.attributes
    if columns is None:
        columns = [one.name for one in table.schema if not pa.types.is_nested(one.type)]
    typed = {name: _typed(_column(catalog, name)) for name in columns}
    # Without columns, Arrow would forget how many products there are.
    return pa.table(typed) if typed else table.select([])


def _column(catalog: Catalog, name: str) -> pa.ChunkedArray:
    if name in catalog.attributes.column_names:
        column = catalog.attributes.column(name)
        if pa.types.is_nested(column.type):
            raise ValueError(
                f"Column {name!r} holds {column.type}; a condition takes single values."
            )
        return column
    try:
        texts = catalog.column(name)
    except KeyError as error:
        raise ValueError(f"There is {error.args[0]}") from error
    return pa.chunked_array([pa.array(texts, pa.string())])


def _typed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Returns a column of text as numbers where it can; any other as it is."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return column
    text = pc.utf8_trim_whitespace(column.cast(pa.string()))
    text = pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)
    if (
        text.null_count == len(text)
        or pc.any(pc.match_substring_regex(text, _CODE)).as_py()
    ):
        return text
    try:
        numbers = text.cast(pa.float64())
    except pa.ArrowInvalid:
        return text
    return numbers if pc.all(pc.is_finite(numbers)).as_py() else text
