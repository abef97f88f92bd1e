"""Reads CSV, JSONL and Parquet into one Arrow table, and says which rows are bad.

Row numbers count records from 1, the first below a CSV file's header. A folder of
Parquet shards is one table: its rows are counted on from shard to shard, and an error
names the shard and the row in it.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from simprod_tf.atomic import whole_file
from simprod_tf.errors import InputError
from simprod_tf.shards import is_sharded, read_success, shard_files


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be used: its number in the file and why."""

    row: int
    reason: str


@dataclass(frozen=True)
class ReadTable:
    """A table as read: `table`, each row's number in the file, and the bad rows.

    Of a folder, `shards` holds each file and the number of its rows.
    """

    path: Path
    table: pa.Table
    rows: list[int]
    bad: list[BadRow]
    shards: tuple[tuple[Path, int], ...] = ()

    def error(self, message: str, row: int) -> InputError:
        """Returns the error for a row of this number; names the shard that has it."""
        in_shard = row
        for path, num_rows in self.shards:
            if in_shard <= num_rows:
                return InputError(message, path=path, row=in_shard)
            in_shard -= num_rows
        return InputError(message, path=self.path, row=row)

    def strings(self, column: str) -> list[str]:
        """Returns a column as text, whitespace at the ends gone, "" for missing."""
        if column not in self.table.column_names:
            return [""] * self.table.num_rows
        values = self.table.column(column).to_pylist()
        return ["" if value is None else str(value).strip() for value in values]

    def require(self, columns: Sequence[str]) -> None:
        """Refuses a file without one of these columns."""
        missing = [name for name in columns if name not in self.table.column_names]
        if missing:
            found = ", ".join(self.table.column_names)
            raise InputError(
                f"column {missing[0]!r} is missing; the columns are: {found}.",
                path=self.path,
            )


def read_table(path: str | os.PathLike[str]) -> ReadTable:
    """Returns the file's rows; CSV columns are text, others keep their types.

    Args:
        path: the file, or a folder of Parquet shards.

    Raises:
        InputError: no such file, unknown suffix, empty, not of its format, truncated;
            shards whose columns differ.
    """
    file = Path(path)
    if file.is_dir():
        return _read_shards(file)
    if not file.is_file():
        raise InputError("there is no such file.", path=file)
    reader = _READERS.get(file.suffix.lower())
    if reader is None:
        known = ", ".join(_READERS)
        raise InputError(f"unknown kind of file; use one of {known}.", path=file)
    if file.stat().st_size == 0:
        raise InputError("the file is empty.", path=file)
    try:
        return reader(file)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OSError) as error:
        raise InputError(
            f"the file cannot be read as {file.suffix[1:].upper()}: {error}", path=file
        ) from error


def require_writable_suffix(path: str | os.PathLike[str]) -> None:
    """Refuses a path that `write_table` cannot write; call it before long work."""
    if Path(path).suffix.lower() not in (".csv", ".parquet"):
        raise InputError("write to a .csv or .parquet file.", path=path)


def require_table_place(path: str | os.PathLike[str], *, kind: str) -> None:
    """Refuses a path that `shards.publish` shall not write; call it before long work.

    Args:
        path: in .csv or .parquet, or without a suffix: a folder.
        kind: of table; a folder that holds something else is not replaced.
    """
    place = Path(path)
    if is_sharded(place) and place.suffix:
        raise InputError(
            "write to a .csv or .parquet file, or to a folder, whose name has no "
            f"suffix, not {place.suffix}.",
            path=path,
        )
    if not is_sharded(place) or not place.exists():
        return
    if not place.is_dir():
        raise InputError("this is a file; name a folder, or remove it.", path=path)
    if any(place.iterdir()) and not _is_of_kind(place, kind):
        raise InputError(
            f"this folder holds something else than {kind}, and would be replaced; "
            "name a new one.",
            path=path,
        )


def _is_of_kind(folder: Path, kind: str) -> bool:
    try:
        read_success(folder, kind=kind)
    except InputError:
        return False
    return True


def write_table(table: pa.Table, path: str | os.PathLike[str]) -> None:
    """Writes CSV or Parquet, by the suffix, whole or not at all."""
    require_writable_suffix(path)
    with whole_file(path) as temporary:
        if Path(path).suffix.lower() == ".csv":
            pacsv.write_csv(table, temporary)
        else:
            pq.write_table(table, temporary)


def write_bad_rows(bad: Iterable[BadRow], path: str | os.PathLike[str]) -> None:
    """Writes the rows set aside as CSV with the columns `row` and `reason`."""
    rows = [{"row": one.row, "reason": one.reason} for one in bad]
    schema = pa.schema([("row", pa.int64()), ("reason", pa.string())])
    write_table(pa.Table.from_pylist(rows, schema=schema), path)


def _read_csv(path: Path) -> ReadTable:
    bad: list[BadRow] = []

    def set_aside(row: pacsv.InvalidRow) -> str:
        # Arrow counts the header as row 1.
        reason = f"{row.actual_columns} columns instead of {row.expected_columns}"
        bad.append(BadRow(row.number - 1, reason))
        return "skip"

    names = _csv_header(path)
    # Bytes, not text: a row that is not UTF-8 must not cost the rest of the file.
    table = pacsv.read_csv(
        path,
        read_options=pacsv.ReadOptions(use_threads=False),
        parse_options=pacsv.ParseOptions(
            newlines_in_values=True, invalid_row_handler=set_aside
        ),
        convert_options=pacsv.ConvertOptions(
            column_types={name: pa.binary() for name in names}, check_utf8=False
        ),
    )
    skipped = {one.row for one in bad}
    total = table.num_rows + len(bad)
    rows = [row for row in range(1, total + 1) if row not in skipped]
    undecodable = _rows_not_utf8(table)
    bad += [BadRow(rows[position], "not UTF-8 text") for position in undecodable]
    keep = [i for i in range(table.num_rows) if i not in undecodable]
    if undecodable:
        table = table.take(pa.array(keep, pa.int64()))
    text = pa.schema([(name, pa.string()) for name in table.column_names])
    return ReadTable(path, table.cast(text), [rows[i] for i in keep], sorted_bad(bad))


def _csv_header(path: Path) -> list[str]:
    # Not Arrow's streaming reader: it reads ahead in a thread, and a process that ends
    # meanwhile is aborted.
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            names = next(csv.reader(file), [])
    except UnicodeDecodeError as error:
        # A block is decoded at once: the fault may lie in a row below the header.
        with path.open("rb") as raw:
            header = raw.readline()
        if not _is_utf8(header):
            raise InputError("the header is not UTF-8 text.", path=path) from error
        names = next(csv.reader([header.decode("utf-8-sig")]), [])
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise InputError(f"column {min(twice)!r} stands there twice.", path=path)
    return names


def _rows_not_utf8(table: pa.Table) -> set[int]:
    bad: set[int] = set()
    for column in table.columns:
        try:
            column.cast(pa.string())
        except pa.ArrowInvalid:
            values = enumerate(column.to_pylist())
            bad.update(i for i, value in values if not _is_utf8(value))
    return bad


def _is_utf8(value: bytes | None) -> bool:
    try:
        (value or b"").decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _read_jsonl(path: Path) -> ReadTable:
    records: list[dict[str, Any]] = []
    rows: list[int] = []
    bad: list[BadRow] = []
    with path.open("rb") as file:
        lines = [line for line in file if line.strip()]
    for row, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except UnicodeDecodeError:
            bad.append(BadRow(row, "not UTF-8 text"))
            continue
        except ValueError as error:
            bad.append(BadRow(row, f"not JSON: {error}"))
            continue
        if not isinstance(record, dict):
            bad.append(BadRow(row, "not a JSON object"))
            continue
        records.append(record)
        rows.append(row)
    names = list(dict.fromkeys(name for record in records for name in record))
    columns = {name: _json_column([r.get(name) for r in records]) for name in names}
    return ReadTable(path, pa.table(columns), rows, bad)


def _json_column(values: list[Any]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        texts = [
            None if v is None else v if isinstance(v, str) else json.dumps(v)
            for v in values
        ]
        return pa.array(texts, pa.string())


def _read_parquet(path: Path) -> ReadTable:
    # A folder above that is called `id=5` is no column.
    table = pq.read_table(path, partitioning=None)
    return ReadTable(path, table, list(range(1, table.num_rows + 1)), [])


def _read_shards(folder: Path) -> ReadTable:
    """Returns the rows of all shards, in the order of the files' names."""
    files = shard_files(folder)
    tables = [read_table(file).table for file in files]
    schema = tables[0].schema.remove_metadata()
    for at, (file, table) in enumerate(zip(files, tables)):
        if table.column_names != schema.names:
            raise InputError(
                f"the columns are {', '.join(table.column_names)}, in {files[0].name} "
                f"{', '.join(schema.names)}; shards of one table have the same.",
                path=file,
            )
        try:
            tables[at] = table.replace_schema_metadata().cast(schema)
        except pa.ArrowInvalid as error:
            raise InputError(
                f"its columns do not have the types of those in {files[0].name}: "
                f"{error}.",
                path=file,
            ) from error
    whole = pa.concat_tables(tables)
    shards = tuple(zip(files, (table.num_rows for table in tables)))
    return ReadTable(folder, whole, list(range(1, whole.num_rows + 1)), [], shards)


def sorted_bad(bad: Iterable[BadRow]) -> list[BadRow]:
    """Returns bad rows in the file's order."""
    return sorted(bad, key=lambda one: one.row)


_READERS: dict[str, Callable[[Path], ReadTable]] = {
    ".csv": _read_csv,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
}
