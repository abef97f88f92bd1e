"""Big CSV files of a data set as checked tables in DuckDB, and event logs out of them.

No row passes through Python: files of tens of millions of rows are read in bounded
memory.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from simprod_tf.data.formats.source import Source
from simprod_tf.engine.embedded import Embedded, QueryError, sql_name, sql_text
from simprod_tf.errors import InputError

# Beside the interpreter's own memory; what outgrows it goes to disk.
MEMORY_LIMIT_MB = 800


@dataclass(frozen=True)
class Field:
    """What a column must hold: the SQL of its value, NULL where it does not hold it.

    `sql` has `{}` where the column's text stands; `expected` says it in words.
    """

    sql: str
    expected: str


TEXT = Field("NULLIF(trim({}), '')", "text")
# Beyond these numbers lie seconds and microseconds: 1973 to 5138.
# trim(): DuckDB 2.0 lets the CSV reader do a bare TRY_CAST of a column, which then
# raises where it should give NULL.
MILLISECONDS = Field(
    "CASE WHEN TRY_CAST(trim({}) AS BIGINT) BETWEEN 100000000000 AND 99999999999999 "
    "THEN make_timestamp(TRY_CAST(trim({}) AS BIGINT) * 1000) END",
    "a time in milliseconds since 1970, like 1433221332117",
)
# By way of TIMESTAMPTZ: the cast to TIMESTAMP drops an offset from UTC unseen.
ISO_TIME = Field(
    "make_timestamp(epoch_us(TRY_CAST(trim({}) AS TIMESTAMPTZ)))",
    "a time like 2014-04-07T10:51:09.277Z",
)


def one_of(*words: str) -> Field:
    """Returns the field of a column that holds one of these words."""
    listed = ", ".join(sql_text(word) for word in words)
    return Field(
        f"CASE WHEN trim({{}}) IN ({listed}) THEN trim({{}}) END", " or ".join(words)
    )


@dataclass(frozen=True)
class CsvFile:
    """A CSV file in UTF-8 with commas: its columns, and whether a header names them."""

    path: Path
    names: Sequence[str]
    header: bool = True

    def rows(self) -> str:
        """Returns SQL to stand after FROM: every column as text, in order."""
        columns = ", ".join(f"{sql_text(name)}: 'VARCHAR'" for name in self.names)
        return (
            f"read_csv({sql_text(str(self.path))}, auto_detect = false, delim = ',', "
            f"quote = '\"', escape = '\"', header = {str(self.header).lower()}, "
            f"columns = {{{columns}}})"
        )


def stage(
    engine: Embedded,
    table: str,
    file: CsvFile,
    fields: Mapping[str, Field],
    *,
    source: Source,
    where: str = "true",
) -> None:
    """Makes `table` of some columns of a file; every row of it holds what it must.

    Args:
        engine: where the table is made, its rows in the file's order.
        table: its name.
        file: what is read.
        fields: of the columns that the table gets.
        source: whose layout it is.
        where: SQL on the file's columns; other rows are left out, unchecked.

    Raises:
        InputError: the file is missing, empty or of another layout; the first row
            that lacks something is named.
    """
    source.require(file.path)
    if file.header:
        _check_header(file, source)
    values = ", ".join(
        f"{_value(name, field)} AS {sql_name(name)}" for name, field in fields.items()
    )
    try:
        engine.run(
            f"CREATE OR REPLACE TABLE {table} AS SELECT {values} FROM {file.rows()} "
            f"WHERE {where}"
        )
    except QueryError as error:
        raise _readable(error, file) from error
    _check_rows(engine, table, file, fields, where)


def write_events(engine: Embedded, rows: str, path: Path) -> int:
    """Writes a query's `session, id, event, time` as Parquet; returns how many rows."""
    engine.run(f"COPY ({rows}) TO {sql_text(str(path))} (FORMAT parquet)")
    counted = engine.query(
        f"SELECT COUNT(*) AS events FROM read_parquet({sql_text(str(path))})"
    )
    return int(counted["events"][0].as_py())


def _value(name: str, field: Field) -> str:
    return field.sql.replace("{}", sql_name(name))


def _check_header(file: CsvFile, source: Source) -> None:
    with file.path.open("rb") as raw:
        line = raw.readline()
    try:
        names = next(csv.reader([line.decode("utf-8-sig")]), [])
    except UnicodeDecodeError as error:
        raise InputError("the header is not UTF-8 text.", path=file.path) from error
    if names != list(file.names):
        raise source.misfit(
            file.path,
            f"the header must read {','.join(file.names)}, got {','.join(names)}.",
        )


def _check_rows(
    engine: Embedded,
    table: str,
    file: CsvFile,
    fields: Mapping[str, Field],
    where: str,
) -> None:
    faults = ", ".join(
        f"COUNT(*) FILTER ({sql_name(name)} IS NULL) AS {sql_name(name)}"
        for name in fields
    )
    counted = engine.query(f"SELECT COUNT(*) AS row_count, {faults} FROM {table}")
    found = counted.to_pylist()[0]
    if not found.pop("row_count"):
        raise InputError("no row of use is in it.", path=file.path)
    if any(found.values()):
        raise _first_fault(engine, file, fields, where)


def _first_fault(
    engine: Embedded, file: CsvFile, fields: Mapping[str, Field], where: str
) -> InputError:
    wrong = " OR ".join(
        f"{_value(name, field)} IS NULL" for name, field in fields.items()
    )
    flags = ", ".join(
        f"{_value(name, field)} IS NULL AS {sql_name('bad ' + name)}"
        for name, field in fields.items()
    )
    row = engine.query(
        f"SELECT *, {flags} FROM "
        f"(SELECT row_number() OVER () AS row_number, * FROM {file.rows()}) "
        f"WHERE ({where}) AND ({wrong}) ORDER BY row_number LIMIT 1"
    ).to_pylist()[0]
    name = next(name for name in fields if row[f"bad {name}"])
    return InputError(
        f"column {name!r} must be {fields[name].expected}, got {row[name] or ''!r}.",
        path=file.path,
        row=row["row_number"],
    )


def _readable(error: QueryError, file: CsvFile) -> InputError:
    """Returns DuckDB's complaint without its advice on DuckDB's own options."""
    text = str(error)
    found = re.search(r"CSV Error on Line: (\d+)", text)
    row = int(found.group(1)) - file.header if found else None
    widths = re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", text)
    if widths:
        reason = f"{widths.group(2)} columns instead of {widths.group(1)}."
    elif "utf-8" in text:
        reason = "not UTF-8 text."
    else:
        reason = f"not CSV with commas: {text.splitlines()[0]}"
    return InputError(reason, path=file.path, row=row)
