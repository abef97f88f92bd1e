"""CSV files of a data set, read whole: each row is as the layout says, or is named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from simprod_tf.data.formats.source import Source
from simprod_tf.data.tables import ReadTable, read_table
from simprod_tf.errors import InputError


def read_checked(path: Path, columns: Sequence[str], *, source: Source) -> ReadTable:
    """Returns the rows of a CSV file that has these columns, all rows sound.

    Raises:
        InputError: the file is missing, empty or without one of the columns; a row has
            another number of columns or is not UTF-8.
    """
    read = read_table(source.require(path))
    absent = [name for name in columns if name not in read.table.column_names]
    if absent:
        found = ", ".join(read.table.column_names)
        raise source.misfit(
            path, f"column {absent[0]!r} is missing; the columns are: {found}."
        )
    if read.bad:
        raise InputError(f"{read.bad[0].reason}.", path=path, row=read.bad[0].row)
    if not read.table.num_rows:
        raise InputError("no row stands below the header.", path=path)
    return read


def require_unique(ids: Sequence[str], rows: Sequence[int], path: Path) -> None:
    """Refuses an id that is empty or that stands in two rows."""
    first: dict[str, int] = {}
    for row, id in zip(rows, ids):
        if not id:
            raise InputError("the id is empty.", path=path, row=row)
        if id in first:
            raise InputError(
                f"id {id!r} stands already in row {first[id]}.", path=path, row=row
            )
        first[id] = row
